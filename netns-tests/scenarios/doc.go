// Package scenarios holds the built-in scenarios of "clusterctl sim": text files in the language of
// package sim. Each opens with what it proves and the class of incident it comes from. The
// tests of package sim play all of them in virtual time and compare every line; the tests one directory up play a
// chosen handful with real daemons on real kernels and judge their expect lines.
package scenarios

import "embed"

// FS has the files, NAME.txt each.
//
//go:embed *.txt
var FS embed.FS
