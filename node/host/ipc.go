package host

import (
	"time"

	"quorate/node"
)

// Kind says what a Message means.
type Kind string

// Kinds of Message. "stage" and "apply" go from the cluster worker to the vrrp and checker workers, all others the other way.
const (
	KindHello   Kind = "hello"   // a worker started; the other end answers with what it should know
	KindStage   Kind = "stage"   // generation Generation is saved as staged: other members may run it any moment now
	KindApply   Kind = "apply"   // generation Generation is saved and active: run it
	KindApplied Kind = "applied" // Generation runs here, or Error says why not
	KindStatus  Kind = "status"  // the whole status, in parts of at most 100 objects; Last marks the last part
	KindEntry   Kind = "entry"   // one journal entry
)

// Message is what workers say to each other: one JSON object per packet of an inherited
// SOCK_SEQPACKET pair, so that a killed sender never leaves half a message.
type Message struct {
	Kind       Kind                  `json:"kind"`
	Worker     string                `json:"worker"` // vrrp or checker
	PID        int                   `json:"pid,omitempty"`
	Generation int64                 `json:"generation,omitempty"`
	Error      string                `json:"error,omitempty"`
	Instances  []node.InstanceStatus `json:"instances,omitempty"`
	Services   []node.ServiceStatus  `json:"services,omitempty"`
	Late       time.Duration         `json:"late,omitempty"`    // how late this worker served its deadlines in the last minute, the worst
	Heard      []node.HeardRouter    `json:"heard,omitempty"`   // the census of the vrrp worker
	Missing    []string              `json:"missing,omitempty"` // what this host lacks: "IPVS: the kernel has no ip_vs …"
	Part       int                   `json:"part,omitempty"`    // of a status, from 1, so that a receiver notices a lost one
	Last       bool                  `json:"last,omitempty"`
	Entry      *node.Entry           `json:"entry,omitempty"`
}
