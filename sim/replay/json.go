package replay

import (
	"encoding/json"
	"time"
)

// MarshalJSON gives one line the keys kind, n, time, proto, vrid, version, src, verdict and reason.
func (l Line) MarshalJSON() ([]byte, error) {
	src := ""
	if l.Src.IsValid() {
		src = l.Src.String()
	}
	return json.Marshal(struct {
		Kind    string    `json:"kind"`
		N       int       `json:"n"`
		Time    time.Time `json:"time"`
		Proto   string    `json:"proto"`
		VRID    uint8     `json:"vrid"`
		Version uint8     `json:"version"`
		Src     string    `json:"src"`
		Verdict string    `json:"verdict"`
		Reason  string    `json:"reason"`
	}{"packet", l.N, l.Time.UTC(), l.Proto.String(), l.VRID, l.Version, src, l.Verdict(), l.Reason()})
}

// MarshalJSON gives the summary the keys kind, owners, elections, conflicts and two_owners.
func (s Summary) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Kind      string      `json:"kind"`
		Owners    []Owner     `json:"owners"`
		Elections []Election  `json:"elections"`
		Conflicts []Conflict  `json:"conflicts"`
		TwoOwners []TwoOwners `json:"two_owners"`
	}{"summary", s.Owners, s.Elections, s.Conflicts, s.TwoOwners})
}
