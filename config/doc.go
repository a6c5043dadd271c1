// Package config reads keepalived.conf into a typed tree in which every value knows where
// it was written, and says what is wrong with a file the way a compiler does.
//
//	cfg, findings := config.Parse("/etc/keepalived/keepalived.conf", src, config.Options{ConfigID: "d2"})
//	if findings.HasErrors() { ... findings.Format(os.Stderr, src) ... }
//
// Render reads one file for every director of a cluster and checks what only shows when
// their configurations stand side by side. Lint gives the findings only and keeps nothing
// per service. Print writes what one director reads, Format lays a file out, Diff says what
// a change means, Merge makes one file out of several, Statements and FromJSON carry a file
// through JSON (JSONSchema), MaskSecrets hides what nobody should see, KeywordAt and KeywordsAt help
// who writes a file. None of them does I/O: files come
// through a Source. Files is one in memory (a pushed bundle), Recorder remembers what was
// read so that it can be pushed. A Source may also know permissions (Modes) and an
// environment (Environment).
//
// # Stages
//
//	bytes ──reader──▶ logical lines ──split──▶ statements and braces
//	      ──builder──▶ one block of the top level at a time ──ctx.top──▶ Config, Diagnostics
//	      ──finish──▶ what needs the whole file ──Render──▶ one per director
//
// reader.go takes physical lines one by one and does to each what keepalived does, in its
// order: cut the comment, test @NAME, store $NAME=VALUE, repeat (~SEQ, ~LST), replace $NAME
// and ${NAME} (and test again what came out), include, split at braces. variable.go,
// repeat.go and include.go hold three of these; fast.go is a short way for lines that need
// none of it, which are nearly all. A line (line.go) carries a position for every byte, so
// a value that came out of a variable is shown where the variable is used, and a line of a
// multi-line variable where it is written.
//
// tree.go puts blocks together. It knows which keywords are blocks, so a missing or surplus
// brace is reported where it is and does not shift what follows: an unknown block is
// skipped as a block, where keepalived would end its parent early and lose the rest of it.
// A complete block of the top level is interpreted and forgotten, so that the memory of a
// reading is that of its result.
//
// interpret.go looks at each statement. A rule reads it into fields; without a rule
// generic.go checks it by its row in values.tsv and keeps it as a Setting; old.go knows the
// words of old files; anything else is unknown ("unknown-keyword", with the nearest name
// that is known in this block, or the block in which it would be right). Nothing is
// dropped without a finding. check.go and crosscheck.go judge what needs the whole file.
//
// # What is carried out
//
// Reading a keyword and doing what it asks for are two things. feature.go is the one table
// of what the daemon does. A keyword names its feature in the last column of values.tsv; a
// value that asks for one (a scheduler flag, a weight) is reported by ctx.need. As long as
// the feature is not done, every use is a finding: "not-supported-yet", an Error, when
// running the file without it would mislead; "no-effect-yet", a Warning, otherwise;
// "no-effect" when it will never be done, with the reason. To turn one on set done, then
// regenerate docs/keywords.md and the golden files:
//
//	go test ./config -rewrite
//
// # Adding a keyword
//
// A row in keywords.tsv when keepalived has a new one, a row in values.tsv with its value
// and feature: then it is read, checked, reported, documented and tested (TestEveryKeyword).
// For a field of its own add a rule to the slice of its block (globalRules, routerRules ...)
//
//	{block: I, keyword: "garp_master_delay", args: 1, set: duration(0, 0, garpMax, field)},
//
// with one of the setters of value.go (integer, duration, boolean, flag, text, choice,
// address, command ...) or a function of the same shape when the keyword has a grammar of
// its own (addressLine, routeLine). A keyword block has open and close instead of set, a
// block with an entry per line has each. args is how many words belong to it; what is
// written behind them is reported as ignored. A default that depends on another keyword is
// applied when the block closes, or in finishInstance and finishRealServer when it depends
// on another block.
//
// # Defaults
//
// After Parse every field of an Instance, a Script, a VirtualServer, a RealServer and a
// Check can be used without asking whether it was written: V holds the default or what was
// inherited, and Set says that it stood in the block itself. Global holds only what was
// written.
//
// # Obligations of callers
//
//   - Do not run a Config whose Diagnostics have errors: it is the part that was understood.
//   - A Source must refuse what keepalived refuses to include: directories, files with an
//     execute permission, anything that is not a regular file. ReadFile returns the error.
//   - A Source must give the same answers while one Parse or Render goes on, and must not
//     change bytes it has given away.
//   - What the file cannot tell is not judged by a reading: whether interfaces, users and
//     scripts exist. Programs lists what is run, Subnets judges virtual addresses by the networks it is told; host.Judge asks both.
//   - A Config holds passwords. Print masks them and Format of Diagnostics stars them out;
//     whoever shows a Config must do the same.
//
// # Differences from keepalived
//
// Stricter: undefined ${NAME}, control characters, unknown keywords and wrong values are
// errors, and a file that has one is not used. More helpful: a script may be defined after
// its use (with a Warning, since keepalived may read the same file), lines may be longer
// than 1023 bytes (with a Warning), each finding comes once. ${_RANDOM} depends on the
// config-id and its number among those of the file only, so that a check, a push and a
// restart read the same. Where keepalived 2.2.7 and 2.4 differ, 2.4 is followed and an Info says so.
//
// Every input is bounded (limits.go), so reading a hostile file costs little.
package config
