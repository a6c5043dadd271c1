// Package corpus holds scenarios that a search has found once and that every search replays first: each made a mistake visible,
// one that was planted to see whether the search bites or one that was really there. They are cut down to what
// the mistake needs, open with what it was, and hold today.
package corpus

import "embed"

// FS has the files, NAME.txt each.
//
//go:embed *.txt
var FS embed.FS
