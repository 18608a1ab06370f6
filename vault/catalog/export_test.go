package catalog

// Load reads a catalog from another place than the embedded one.
var Load = load
