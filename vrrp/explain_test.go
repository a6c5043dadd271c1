package vrrp

import "testing"

// TestExplain: every reason that points to somebody has a meaning and a remedy of its own.
func TestExplain(t *testing.T) {
	seen := map[string]RejectReason{}
	for _, r := range RejectReasons() {
		meaning, remedy := Explain(r, false)
		if meaning == "" || remedy == "" {
			t.Errorf("%v: %q %q", r, meaning, remedy)
		}
		if o, dup := seen[meaning]; dup && (r != RejectAuth && r != RejectAuthType && r != RejectShort && r != RejectType && r != RejectVRID) {
			t.Errorf("%v reads like %v", r, o)
		}
		seen[meaning] = r
	}
}
