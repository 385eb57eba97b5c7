import sys

from tiktok_link_cli.main import main

sys.exit(main())
