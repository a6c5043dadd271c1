package host

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"quorate/node"
)

// keepalivedWords puts what is noted about an advert into the words that keepalived 2.2.7 logs for it (measured), for the sake of
// everything that looks for them; ok is false where it has none. Who sent it and what we know more stands behind.
func keepalivedWords(e node.Entry) (words string, ok bool) {
	from := "somebody"
	if m := sentBy.FindStringSubmatch(e.Trigger); m != nil {
		from = m[1]
	}
	for _, l := range keepalivedLines {
		if e.Event != l.event || l.reason != "" && e.Reason != l.reason {
			continue
		}
		m := l.detail.FindStringSubmatch(e.Detail)
		if m == nil || l.differ && m[1] == m[2] {
			continue
		}
		words := strings.ReplaceAll(l.words, "$from", from)
		for k := 1; k < len(m); k++ {
			words = strings.ReplaceAll(words, fmt.Sprintf("$%d", k), asNumber(m[k]))
		}
		return fmt.Sprintf("%s (from %s: %s)", words, from, e.Detail), true
	}
	return "", false
}

// asNumber is how keepalived writes an authentication type, and a duration in seconds.
func asNumber(word string) string {
	if n, ok := map[string]string{"none": "0", "pass": "1", "ah": "2"}[word]; ok {
		return n
	}
	if d, err := time.ParseDuration(word); err == nil {
		return fmt.Sprint(d.Seconds())
	}
	return word
}

var sentBy = regexp.MustCompile(`^packet \d+ from (\S+) on `)

// keepalivedLines are in the order in which they are tried: the first whose detail matches counts.
var keepalivedLines = []struct {
	event, reason string
	detail        *regexp.Regexp
	words         string
	differ        bool // only if $1 and $2 do
}{
	{"vrrp.rejected", "auth", regexp.MustCompile(`^password`), "received an invalid passwd!", false},
	{"vrrp.rejected", "auth", regexp.MustCompile(``), "IPSEC-AH : invalid IPSEC HMAC-MD5 value", false},
	{"vrrp.rejected", "auth_type", regexp.MustCompile(`^auth type (\w+), ours (\w+)`), "received a $1 auth, expecting $2!", false},
	{"vrrp.rejected", "auth_type", regexp.MustCompile(`^an authentication header`), "Received AH header but auth type not AH", false},
	{"vrrp.rejected", "auth_type", regexp.MustCompile(``), "No AH header but auth type is AH", false},
	{"vrrp.rejected", "interval", regexp.MustCompile(`^interval (\S+), ours (\S+)`), "advertisement interval mismatch mine=$2 sec rcv'd=$1 sec", false},
	{"vrrp.rejected", "version", regexp.MustCompile(`^version (\d+), ours (\d+)`), "wrong version. Received $1 and expect $2", false},
	{"vrrp.rejected", "addr_list", regexp.MustCompile(`^(\d+) addresses, ours (\d+)`), "received an unexpected ip number count $1, expected $2!", true},
	{"vrrp.rejected", "addr_list", regexp.MustCompile(``), "ip address associated with VRID not present in MASTER advert", false},
	{"vrrp.rejected", "ttl", regexp.MustCompile(`^TTL (\d+), expected (\d+)`), "invalid TTL/HL. Received $1 and expect $2", false},
	{"vrrp.rejected", "checksum", regexp.MustCompile(`for version (\d)`), "Invalid VRRPv$1 checksum", false},
	{"vrrp.rejected", "type", regexp.MustCompile(`^message type (\d+), expected (\d+)`), "Invalid packet type. $1 and expect $2", false},
	{"vrrp.rejected", "length", regexp.MustCompile(``), "vrrp packet of wrong length", false},
	{"vrrp.rejected", "sequence", regexp.MustCompile(`^sequence number (\d+), seen or sent (\d+)`), "IPSEC-AH : sequence number $1 already processed. Packet dropped. Local($2)", false},
	{"vrrp.rejected", "destination", regexp.MustCompile(`expected unicast`), "Expected unicast packet but received multicast packet", false},
	{"vrrp.rejected", "peer", regexp.MustCompile(`^unicast source`), "unicast source address $from not a unicast peer", false},
	{"vrrp.lower-priority", "", regexp.MustCompile(`^priority (\d+) < (\d+)`), "received lower priority ($1) advert from $from - discarding", false},
	{"vrrp.lower-priority", "", regexp.MustCompile(`^priority (\d+), ours (\d+)`), "Received advert from $from with lower priority $1, ours $2, forcing new election", false},
	{"vrrp.priority-zero", "", regexp.MustCompile(`^answered`), "Master received priority 0 message", false},
	{"vrrp.priority-zero", "", regexp.MustCompile(``), "Backup received priority 0 advertisement", false},
	{"vrrp.interval", "", regexp.MustCompile(``), "advertisement interval updated by master", false},
}
