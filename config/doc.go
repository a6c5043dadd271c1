// Package config reads keepalived.conf into a typed tree in which every value knows where
// it was written, and says what is wrong with a file the way a compiler does.
//
//	cfg, findings := config.Parse("/etc/keepalived/keepalived.conf", src, config.Options{ConfigID: "d2"})
//	if findings.HasErrors() { ... findings.Format(os.Stderr, src) ... }
//
// Render reads one file for every director of a cluster and checks what only shows when
// their configurations stand side by side. Neither does I/O: files come through a Source.
// Files is one in memory (a pushed bundle), Recorder remembers what was read so that it
// can be pushed.
//
// # Stages
//
//	bytes ──reader──▶ logical lines ──split──▶ statements and braces
//	      ──builder──▶ tree of stmt ──ctx.walk──▶ Config, Diagnostics ──Render──▶ one per director
//
// reader.go takes physical lines one by one and does to each what keepalived does, in its
// order: cut the comment, test @NAME, store $NAME=VALUE, replace $NAME and ${NAME} (and
// test again what came out), include, split at braces. variable.go and include.go hold
// two of these. A line (line.go) carries a position for every byte, so a value that came
// out of a variable is shown where the variable is used, and a line of a multi-line
// variable where it is written.
//
// tree.go makes the tree. It knows which keywords are blocks, so a missing or surplus
// brace is reported where it is and does not shift what follows: an unknown block is
// skipped as a block, where keepalived would end its parent early and lose the rest of it.
//
// interpret.go walks the tree. Three things can happen to a statement: a rule carries it
// out; keywords.tsv knows it but no rule does ("not-supported-yet": an Error for tier 1
// and 2, a Warning for tier 3); nobody knows it ("unknown-keyword", with the nearest name
// that is known in this block, or the block in which it would be right). Nothing is
// dropped without a finding. check.go judges what needs the whole file.
//
// # Adding a keyword
//
// One row. Find the slice of its block (globalRules, instanceRules ...) and add
//
//	{block: I, keyword: "garp_master_delay", args: 1, set: duration(0, 0, garpMax, field)},
//
// with one of the setters of value.go (integer, duration, boolean, flag, text, choice,
// address, command ...) or a function of the same shape when the keyword has a grammar of
// its own (addressLine). A keyword block has open and close instead of set, a block with
// an entry per line has each. args is how many words belong to it; what is written behind
// them is reported as ignored. A rule with only yet reads and keeps quiet, except for a
// Warning "no-effect-yet". A default that depends on another keyword is applied when the
// block closes, or in finishInstance and finishRealServer when it depends on another
// block. Then add the keyword to a case in testdata/golden, good and bad, and shorten the
// lists in probe_test.go. keywords.tsv changes only when keepalived gets a new keyword.
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
//   - A Source must give the same answers while one Parse or Render goes on.
//   - What the file cannot tell is not judged here: whether interfaces, users and scripts
//     exist. The host does that before it runs the Config.
//
// # Differences from keepalived
//
// Stricter: undefined ${NAME}, control characters, unknown keywords and wrong values are
// errors, and a file that has one is not used. More helpful: a script may be
// defined after its use (with a Warning, since keepalived may read the same file), lines
// may be longer than 1023 bytes (with a Warning). Not there yet: ~SEQ, ~LST, ${_RANDOM},
// ${_ENV}, IPv6 addresses, and what keywords.tsv has beyond the rules.
//
// Every input is bounded (limits.go), so reading a hostile file costs little.
package config
