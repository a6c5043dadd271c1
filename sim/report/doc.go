// Package report turns what a run came to into something to read: a Result for machines (JSON, JUnit), a Timeline for people
// ([HTML], one file without anything outside it, and [SVG]). It only writes to what it is handed.
package report
