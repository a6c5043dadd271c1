package config

import (
	"slices"
	"strings"
)

// masked stands for a secret in everything that is shown.
const masked = "********"

// secretWords are the keywords with a secret behind them, and how people misspell the one that most files have: a word in the
// wrong place or spelling is an error, but what stands behind it is a password all the same.
var secretWords = []string{"auth_pass", "password", "key", "smtp_auth", "auth_pas", "auth_passwd", "auth_password", "auth-pass", "authpass", "passwd"}

// isSecret reports which word of a statement nobody should see; 0 for none.
func isSecret(path, kw string) int {
	switch {
	case kw == "key" && strings.HasSuffix(path, "auth_hmac"), kw == "smtp_auth":
		return 2
	case kw != "key" && slices.Contains(secretWords, kw):
		return 1
	}
	return 0
}

// Mask puts stars in place of the secrets of a configuration that is about to be shown.
func (c *Config) Mask() {
	for _, i := range c.Instances {
		if i.AuthPass.Set {
			i.AuthPass.V = masked
		}
	}
	if c.Global.SMTPPassword.Set {
		c.Global.SMTPPassword.V = masked
	}
	maskSettings(c.Settings)
}

func maskSettings(list []Setting) {
	for i, s := range list {
		if n := isSecret(s.Block, s.Keyword); n > 0 && n <= len(s.Values) {
			list[i].Values = slices.Clone(s.Values)
			list[i].Values[n-1] = masked
		}
		maskSettings(s.Items)
	}
}

// masked refuses what was shown in place of a secret.
func (c *ctx) masked(at Pos, kw string) {
	c.errorf(at, "masked-secret", kw, "write the password; clusterctl get --show-secrets prints it", "%s has nothing but stars: this is what was shown in place of the password", kw)
}

// MaskSecrets returns files as they were written with stars over every secret: the words
// behind the keywords that take one, in comments as well, and the definitions of variables
// that such a word uses. A push of the result is refused (closeAuth), so that nobody loses a
// password by storing what was shown.
func MaskSecrets(files Files) Files {
	out, names := make(Files, len(files)), secretVariables(files)
	for name, text := range files {
		out[name] = maskText(text, names)
	}
	return out
}

// secretVariables returns the names of variables that hold a secret in files: those that stand
// behind a keyword that takes one, and those they are made of.
func secretVariables(files Files) map[string]bool {
	names := map[string]bool{}
	for _, text := range files {
		for line := range strings.Lines(text) {
			eachSecret(line, func(from, to int) { usedVariables(line[from:to], names) })
		}
	}
	for known := -1; known != len(names); {
		known = len(names)
		for _, text := range files {
			eachDefinition(text, names, func(_ int, line string, from int) { usedVariables(line[from:], names) })
		}
	}
	return names
}

// maskText puts stars over the values of the variables in names and over what eachSecret finds.
// Lines and columns stay where they are.
func maskText(text string, names map[string]bool) string {
	out := []byte(text)
	star := func(from, to int) {
		for i := from; i < to; i++ {
			if !isBlank(out[i]) && out[i] != '\n' {
				out[i] = '*'
			}
		}
	}
	eachDefinition(text, names, func(at int, line string, from int) {
		star(at+from, at+len(strings.TrimSuffix(strings.TrimRight(line, blanks+"\n"), "\\")))
	})
	at := 0
	for line := range strings.Lines(text) {
		eachSecret(line, func(from, to int) { star(at+from, at+to) })
		at += len(line)
	}
	return string(out)
}

// eachDefinition calls f with every line that belongs to the definition of one of names: where
// it starts, the line, and where in the line its value starts.
func eachDefinition(text string, names map[string]bool, f func(at int, line string, from int)) {
	more, next := false, 0
	for line := range strings.Lines(text) {
		from, at := 0, next
		next += len(line)
		if !more {
			rest := strings.TrimLeft(line, blanks)
			for strings.HasPrefix(rest, "@") { // conditions before a definition
				i := strings.IndexAny(rest, blanks)
				if i < 0 {
					break
				}
				rest = strings.TrimLeft(rest[i:], blanks)
			}
			if !strings.HasPrefix(rest, "$") {
				continue
			}
			n := nameLen(rest[1:])
			value := strings.TrimLeft(rest[1+n:], blanks)
			if n == 0 || !strings.HasPrefix(value, "=") || !names[rest[1:1+n]] && !saysSecret(rest[1:1+n]) {
				continue
			}
			from = len(line) - len(value) + 1
		}
		f(at, line, from)
		more = strings.HasSuffix(strings.TrimRight(line, blanks+"\n"), "\\")
	}
}

// saysSecret reports whether the name of a variable says that it holds one: it may be used in
// another file, which whoever shows a line has not read.
func saysSecret(name string) bool {
	name = strings.ToUpper(name)
	return strings.Contains(name, "PASS") || strings.Contains(name, "SECRET")
}

// usedVariables adds the names of the variables in text.
func usedVariables(text string, names map[string]bool) {
	for i := range len(text) {
		if text[i] != '$' {
			continue
		}
		rest := strings.TrimPrefix(text[i+1:], "{")
		if n := nameLen(rest); n > 0 {
			names[rest[:n]] = true
		}
	}
}

// eachSecret calls f with the place of the words behind secretWords.
func eachSecret(text string, f func(from, to int)) {
	for _, kw := range secretWords {
		from := 0
		for {
			i := strings.Index(text[from:], kw)
			if i < 0 {
				break
			}
			i += from
			from = i + len(kw)
			if (i > 0 && !isBlank(text[i-1]) && !strings.ContainsRune("{=#!", rune(text[i-1]))) || from >= len(text) || !isBlank(text[from]) {
				continue
			}
			words := 1
			if kw == "key" || kw == "smtp_auth" {
				words = 2 // key ID VALUE, smtp_auth USER PASSWORD; SSL's key FILE is hidden as well
			}
			for range words {
				for from < len(text) && isBlank(text[from]) {
					from++
				}
				n := len(strings.TrimRight(wordAt(text[from:]), "\r\n"))
				if n == 0 || strings.ContainsAny(text[from:from+1], "{}#!") {
					break
				}
				f(from, from+n)
				from += n
			}
		}
	}
}
