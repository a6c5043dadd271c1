package config

import (
	"strings"
)

// commandOf reads "SCRIPT [user [group]]". First pass: " and ' both quote and pieces that
// touch join, so the first word is the command; second pass: the command is split into
// arguments, again honouring quotes, and escapes are decoded there and only there
// (keepalived 2.4.3, measured; 2.2.7 decodes in both passes).
func (c *ctx) commandOf(s *stmt) (Command, bool) {
	kw := s.keyword()
	parts, open := quotedWords(s.rest.text, false)
	if open {
		if strings.Count(s.rest.text, `"`)%2 != 0 {
			return Command{}, false // the reader has reported it
		}
		c.errorf(s.pos, "unmatched-quote", kw, "close the quotation on the same line", "a quotation in the command of %s is never closed", kw)
		return Command{}, false
	}
	if len(parts) == 0 {
		c.arg(s, len(s.words), "command")
		return Command{}, false
	}
	at := s.rest.posAt(parts[0].at)
	argv, open := quotedWords(plain(parts[0].text), true)
	cmd := Command{Pos: at}
	for _, a := range argv {
		cmd.Argv = append(cmd.Argv, a.text)
	}
	switch {
	case open:
		c.errorf(at, "unmatched-quote", kw, "close the quotation inside the command", "a quotation inside the command of %s is never closed", kw)
		return Command{}, false
	case len(cmd.Argv) == 0 || cmd.Argv[0] == "":
		c.errorf(at, "missing-value", kw, "write the path of a program", "the command of %s is empty", kw)
		return Command{}, false
	case strings.HasPrefix(cmd.Argv[0], "<"):
		c.need("readable-script", at, kw, "use a command such as \"/usr/bin/test -r FILE\"")
	}
	if strings.IndexByte(parts[0].text, '\\') >= 0 {
		c.infof(at, "escapes-differ", kw, "a script file of its own avoids the question", "the backslashes are read once, as keepalived 2.4 does; keepalived 2.2.7 reads them twice")
	}
	if len(parts) > 1 {
		cmd.User = plain(parts[1].text)
		if !parts[0].quoted {
			c.infof(s.rest.posAt(parts[1].at), "script-user", kw, "to pass arguments put the whole command in double quotes",
				"%q is the user that runs the command, not an argument", shorten(cmd.User))
		}
	}
	if len(parts) > 2 {
		cmd.Group = plain(parts[2].text)
	}
	if len(parts) > 3 {
		w := plain(parts[3].text)
		c.warnf(s.rest.posAt(parts[3].at), "surplus-words", kw, "put the whole command in double quotes",
			"%q and what follows it is ignored, as keepalived does: only a user and a group may follow the command", shorten(w))
	}
	return cmd, true
}

// command stores a notify command. The first definition counts, as in keepalived.
func command(field func(*ctx) **Command) setter {
	return func(c *ctx, s *stmt) {
		cmd, ok := c.commandOf(s)
		if !ok {
			return
		}
		if old := *field(c); old != nil {
			c.warnf(s.pos, "duplicate-keyword", s.keyword(), "delete one of the two", "%s is already set at %s, and the first one counts", s.keyword(), old.Pos)
			return
		}
		*field(c) = &cmd
	}
}

type quotedWord struct {
	text   string
	at     int
	quoted bool
}

// quotedWords splits at blanks outside quotes and removes the quotes. With escapes set it
// decodes backslashes; otherwise a backslash keeps itself and the byte behind it.
func quotedWords(s string, escapes bool) (out []quotedWord, open bool) {
	for i := 0; i < len(s); {
		if isBlank(s[i]) {
			i++
			continue
		}
		w := quotedWord{at: i}
		var b strings.Builder
		quote := byte(0)
		for i < len(s) && (quote != 0 || !isBlank(s[i])) {
			switch ch := s[i]; {
			case ch == '\\' && i+1 < len(s):
				if !escapes {
					b.WriteString(s[i : i+2])
					i += 2
					continue
				}
				c, n := unescape(s[i+1:])
				b.WriteByte(c)
				i += 1 + n
			case quote != 0 && ch == quote:
				quote = 0
				i++
			case quote == 0 && (ch == '"' || ch == '\''):
				quote, w.quoted = ch, true
				i++
			default:
				b.WriteByte(ch)
				i++
			}
		}
		w.text = b.String()
		out = append(out, w)
		if quote != 0 {
			return out, true
		}
	}
	return out, false
}

// unescape decodes what follows a backslash: \a \b \E \f \n \r \t \v, \nnn (up to 3 octal
// digits), \xXX (up to 2 hex digits), \cC; any other character is itself.
func unescape(s string) (c byte, n int) {
	const letters, codes = "abEfnrtv", "\a\b\x1b\f\n\r\t\v"
	if i := strings.IndexByte(letters, s[0]); i >= 0 {
		return codes[i], 1
	}
	switch {
	case s[0] >= '0' && s[0] <= '7':
		for n < 3 && n < len(s) && s[n] >= '0' && s[n] <= '7' {
			c = c<<3 | (s[n] - '0')
			n++
		}
		return c, n
	case s[0] == 'x':
		n = 1
		for n < 3 && n < len(s) && strings.IndexByte("0123456789abcdefABCDEF", s[n]) >= 0 {
			d := s[n] | 0x20
			if d >= 'a' {
				d -= 'a' - 10
			} else {
				d &= 0xf
			}
			c = c<<4 | d
			n++
		}
		if n == 1 {
			return 'x', 1
		}
		return c, n
	case s[0] == 'c' && len(s) > 1:
		return s[1] & 0x1f, 2
	}
	return s[0], 1
}
