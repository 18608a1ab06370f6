package vault

// DigestHeld is what a decision is bound to.
var DigestHeld = digestHeld
