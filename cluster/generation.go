package cluster

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// ComputeHash returns the hex SHA-256 over Main and Files. Every name and content is preceded by its length,
// so that no two different sets of files have the same input, and the files are taken in order of their names.
// Number, author, time and message do not count: pushing the same files again gives the same hash.
func (g *Generation) ComputeHash() string {
	h := sha256.New()
	write := func(s string) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	write(g.Main)
	for _, name := range g.fileNames() {
		write(name)
		write(g.Files[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (g *Generation) fileNames() []string { return slices.Sorted(maps.Keys(g.Files)) }

// invalidUTF8 returns where the first byte is that belongs to no UTF-8 character, -1 if there is none.
func invalidUTF8(s string) int {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return i
			}
		}
	}
	return -1
}

// Check reports what keeps g from being stored: a missing part or a hash that is not that of its files.
func (g *Generation) Check() error {
	if g.Number < 1 {
		return fmt.Errorf("generation number %d: the first is 1", g.Number)
	}
	if _, ok := g.Files[g.Main]; !ok {
		return fmt.Errorf("generation %d: main file %q is not among its %d files", g.Number, g.Main, len(g.Files))
	}
	if y := g.Time.UTC().Year(); y < 0 || y > 9999 {
		return fmt.Errorf("generation %d: year %d cannot be stored", g.Number, y)
	}
	for _, name := range g.fileNames() {
		// JSON would silently replace such bytes and with them the meaning of the hash.
		if at := invalidUTF8(g.Files[name]); at >= 0 {
			line := 1 + strings.Count(g.Files[name][:at], "\n")
			return fmt.Errorf("generation %d: %s:%d: byte %#02x is not UTF-8; convert the file, e.g. iconv -f latin1 -t utf8",
				g.Number, name, line, g.Files[name][at])
		}
		if invalidUTF8(name) >= 0 {
			return fmt.Errorf("generation %d: file name %q is not UTF-8; rename the file", g.Number, name)
		}
	}
	if want := g.ComputeHash(); g.Hash != want {
		return fmt.Errorf("generation %d: hash is %q, its files have %s", g.Number, g.Hash, want)
	}
	return nil
}

// Encode returns g as the JSON value of its key. Equal generations give equal bytes.
func (g *Generation) Encode() ([]byte, error) {
	c := *g
	c.Time = c.Time.UTC()
	b, err := json.Marshal(&c)
	if err != nil {
		return nil, fmt.Errorf("generation %d: %w", g.Number, err)
	}
	return b, nil
}

// DecodeGeneration reads the value of a generation's key and checks it, hash included.
func DecodeGeneration(b []byte) (Generation, error) {
	var g Generation
	if err := json.Unmarshal(b, &g); err != nil {
		return Generation{}, fmt.Errorf("generation: %w", err)
	}
	if err := g.Check(); err != nil {
		return Generation{}, err
	}
	return g, nil
}
