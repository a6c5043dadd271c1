package replay

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"quorate/vrrp"
)

// TestDocs: docs/captures.md has every key of the JSON, every reason, and every cause and end that the golden files show.
func TestDocs(t *testing.T) {
	b, err := os.ReadFile("../../docs/captures.md")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for _, v := range []any{Owner{}, Election{}, Conflict{}, TwoOwners{}, Instant{}, Party{}} {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
			if key, _, _ := strings.Cut(f.Tag.Get("json"), ","); key != "" {
				want[key] = true
			}
		}
	}
	for _, r := range vrrp.RejectReasons() {
		if r != vrrp.RejectPeer { // that needs a configuration
			want[r.String()] = true
		}
	}
	files, err := filepath.Glob("testdata/golden/*.txt")
	if err != nil || len(files) < 40 {
		t.Fatal(len(files), err)
	}
	words := regexp.MustCompile(`cause ([a-z-]+):|ended: ([a-z-]+)|  reject  ([a-z_]+):`)
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range words.FindAllStringSubmatch(string(text), -1) {
			want[m[1]+m[2]+m[3]] = true
		}
	}
	if len(want) < 50 {
		t.Error(len(want))
	}
	for w := range want {
		if !regexp.MustCompile("[`\"]" + regexp.QuoteMeta(w) + "[`\"]").Match(b) {
			t.Errorf("docs/captures.md lacks %s", w)
		}
	}
}
