// The window that waits learns that it is time to ask; this one has nothing left to do.
import { returned } from "/scripts/connect.js";

returned();
