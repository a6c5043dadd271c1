package real

import "testing"

// A torn write begins where the last record ends, also one that ends in zeros itself.
func TestLogEnd(t *testing.T) {
	file := make([]byte, 128)
	copy(file, []byte{16, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16})
	copy(file[24:], []byte{5, 0, 0, 0, 0, 0, 0, 0x83, 9}) // four zeros of its own, three of padding
	for _, c := range []struct {
		file []byte
		want int
	}{{file, 40}, {file[:24], 24}, {file[:30], 24}, {file[:39], 24}, {nil, 0}, {make([]byte, 64), 0}} {
		if got := logEnd(c.file); got != c.want {
			t.Errorf("of %d octets: %d, want %d", len(c.file), got, c.want)
		}
	}
}
