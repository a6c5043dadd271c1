package cluster

import (
	"fmt"
	"strconv"
	"strings"
)

// Where things are in the store.
const (
	PrefixGenerations = "/config/gen/"   // /config/gen/N: Generation as JSON, never changed once written
	KeyNext           = "/config/next"   // Pointer to the generation that members stage; absent when none
	KeyActive         = "/config/active" // Pointer to the generation that runs
	PrefixNodes       = "/nodes/"        // /nodes/NAME: address, version, staged and active generation
	PrefixVIPs        = "/vips/"         // /vips/INSTANCE: observed owner, term, reason
	PrefixVRIDs       = "/vrids/"        // /vrids/SEGMENT/FAMILY/ID: who uses which VRID
	PrefixFlows       = "/flows/"        // /flows/VIP/{epoch,digest/NODE,checkpoint/N}
	PrefixEvents      = "/events/"       // /events/SEQ: bounded journal
)

// GenerationKey is the key of generation n. The number is padded so that the keys sort by it.
func GenerationKey(n int64) string { return fmt.Sprintf("%s%010d", PrefixGenerations, n) }

// NodeKey is the key under which the node of that name keeps what it tells the others.
func NodeKey(name string) string { return PrefixNodes + name }

// EventKey is the key of entry seq of the journal. The number is padded so that the keys sort by it.
func EventKey(seq int64) string { return fmt.Sprintf("%s%020d", PrefixEvents, seq) }

// GenerationNumber is the inverse of GenerationKey; ok is false for every other key.
func GenerationNumber(key string) (n int64, ok bool) {
	digits, ok := strings.CutPrefix(key, PrefixGenerations)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 1 || GenerationKey(n) != key {
		return 0, false
	}
	return n, true
}
