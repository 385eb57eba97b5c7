"""tiktok-link: the command line of whoever runs a stack.

It calls the stack's own API, signed with the operator's AWS credentials, and for what has no route
(renewing one grant, sending dead letters back, the shape of the secret) AWS itself with the same
credentials. It stands beside the layer and not in it: nothing of it is shipped to Lambda.

    main        arguments, and errors told with their cause and cure
    stack       a deployed stack or the local world: outputs, parameters, clients, the signed API
    showing     results as text or as JSON, progress on standard error
    doctor, accounts, renewing, queues, revoking, webhooks, forecast    the commands

No command prints a token, a secret, or the address of a link session.
"""
