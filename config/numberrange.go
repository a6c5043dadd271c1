package config

import (
	"slices"
	"strconv"
	"strings"
)

// wholeNumbers is a regular expression for the decimal numbers from lo to hi, leading zeros allowed: JSON Schema has ranges for
// numbers only, and the values of a file are words.
func wholeNumbers(lo, hi int64) string {
	var alt []string
	if lo < 0 {
		alt = append(alt, "-0*(?:"+strings.Join(digitRanges(uint64(max(0, -hi)), uint64(-lo)), "|")+")")
	}
	if hi >= 0 {
		alt = append(alt, "0*(?:"+strings.Join(digitRanges(uint64(max(0, lo)), uint64(hi)), "|")+")")
	}
	return "(?:" + strings.Join(alt, "|") + ")"
}

// decimals is wholeNumbers with a fraction: from any fraction above the whole part of lo to exactly hi, as seconds are written.
func decimals(lo, hi string) string {
	whole := func(s string) int64 {
		w, _, _ := strings.Cut(s, ".")
		n, _ := strconv.ParseInt(w, 10, 64)
		return n
	}
	top, frac, _ := strings.Cut(hi, ".")
	out := "0*" + top + "(?:\\.0*)?"
	if frac != "" { // 4294.967295: any fraction up to that length is close enough
		out = "0*" + top + "(?:\\.[0-9]*)?"
	}
	if a, b := whole(lo), whole(hi)-1; a <= b {
		out += "|" + wholeNumbers(a, b) + "(?:\\.[0-9]*)?"
		if a == 0 {
			out += "|\\.[0-9]+"
		}
	}
	return "(?:" + out + ")"
}

// digitRanges splits lo..hi where the number of digits or a leading digit changes, and writes one expression for each piece.
func digitRanges(lo, hi uint64) []string {
	stops := []uint64{hi}
	for p := uint64(10); p <= 10*hi; p *= 10 {
		if nines := lo - lo%p + p - 1; nines < hi { // 37 -> 39, 99, 999 ...
			stops = append(stops, nines)
		}
		if zeros := hi + 1 - (hi+1)%p; zeros > lo && zeros <= hi { // 254 -> 250, 200 ..., less one
			stops = append(stops, zeros-1)
		}
	}
	slices.Sort(stops)
	stops = slices.Compact(stops)
	var out []string
	for from := lo; len(stops) > 0; stops = stops[1:] {
		out = append(out, digitPattern(strconv.FormatUint(from, 10), strconv.FormatUint(stops[0], 10)))
		from = stops[0] + 1
	}
	return out
}

// digitPattern is for two numbers of equal length that differ in one digit, and behind it from 0s to 9s.
func digitPattern(a, b string) string {
	var p strings.Builder
	for i := range len(a) {
		switch {
		case a[i] == b[i]:
			p.WriteByte(a[i])
		case a[i] == '0' && b[i] == '9':
			p.WriteString("[0-9]")
		default:
			p.WriteString("[" + a[i:i+1] + "-" + b[i:i+1] + "]")
		}
	}
	return p.String()
}
