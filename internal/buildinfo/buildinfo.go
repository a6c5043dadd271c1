package buildinfo

// Version is set at link time (-X quorate/internal/buildinfo.Version=…).
var Version = "devel"
