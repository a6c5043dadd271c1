package examples

import "embed"

// FS has every example by its file name.
//
//go:embed *.conf
var FS embed.FS
