package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/aymanbagabas/go-udiff"
)

// unified compares two texts line by line. The library counts the lines of the new side wrongly behind a hunk that joins two
// changes (it leaves out what lies between), so the second number of every head is counted here.
func unified(oldName, newName, was, is string) string {
	var out strings.Builder
	shift := 0 // lines the new side has more so far
	for line := range strings.Lines(udiff.Unified(oldName, newName, was, is)) {
		rest, ok := strings.CutPrefix(line, "@@ -")
		from, to, both := strings.Cut(strings.TrimSuffix(rest, " @@\n"), " +")
		if !ok || !both {
			out.WriteString(line)
			continue
		}
		start, n := hunkSide(from)
		_, m := hunkSide(to)
		at := start + shift
		switch { // a side without lines is named by the line before it
		case n == 0 && m > 0:
			at++
		case m == 0 && n > 0:
			at--
		}
		if m == 1 {
			fmt.Fprintf(&out, "@@ -%s +%d @@\n", from, at)
		} else {
			fmt.Fprintf(&out, "@@ -%s +%d,%d @@\n", from, at, m)
		}
		shift += m - n
	}
	return out.String()
}

// hunkSide reads START or START,COUNT.
func hunkSide(s string) (start, count int) {
	a, b, ok := strings.Cut(s, ",")
	start, _ = strconv.Atoi(a)
	if count = 1; ok {
		count, _ = strconv.Atoi(b)
	}
	return start, count
}
