package api

import (
	"time"

	"quorate/cluster"
	"quorate/config"
	"quorate/node"
)

// NodeStatus is one director's own view: what GET /api/v1/node answers. It needs no quorum.
type NodeStatus struct {
	Name       string           `json:"name"`
	Address    string           `json:"address"`
	Cluster    ClusterInfo      `json:"cluster"`
	Version    string           `json:"version"`
	PID        int              `json:"pid"`
	Started    time.Time        `json:"started"`
	Time       time.Time        `json:"time"` // this director's wall clock when it answered
	Generation GenerationStatus `json:"generation"`
	Workers    []WorkerStatus   `json:"workers"`

	Instances []node.InstanceStatus `json:"instances"`
	Services  []node.ServiceStatus  `json:"services"`
	Missing   []string              `json:"missing,omitempty"` // what this host lacks
	Heard     []node.HeardRouter    `json:"heard,omitempty"`   // whose VRRP adverts arrive on its interfaces

	Store       cluster.Status `json:"store"`
	StoreError  string         `json:"store_error,omitempty"` // why the store is not open
	CertExpires time.Time      `json:"cert_expires"`
	CertError   string         `json:"cert_error,omitempty"` // why renewing the certificate fails
}

// GenerationStatus says how far a generation got on one director. Zero means none.
type GenerationStatus struct {
	Committed int64  `json:"committed"`        // active in this member's copy of the store
	Saved     int64  `json:"saved"`            // on this director's disk and active there
	Failed    int64  `json:"failed,omitempty"` // the generation that could not be saved
	Error     string `json:"error,omitempty"`  // and why
	// who pushed Saved, and when
	Author string    `json:"author,omitempty"`
	Time   time.Time `json:"time,omitzero"`
}

// WorkerStatus is what the cluster worker knows of one of the others.
type WorkerStatus struct {
	Worker  string    `json:"worker"` // vrrp or checker
	PID     int       `json:"pid,omitempty"`
	Alive   bool      `json:"alive"` // heard within the last seconds
	Seen    time.Time `json:"seen"`  // zero: never
	Applied int64     `json:"applied"`
	Failed  int64     `json:"failed,omitempty"` // the generation that it could not run
	Error   string    `json:"error,omitempty"`  // and why
	// Late is how late the worker served its deadlines (an advert, a timer) in the last minute, the worst.
	Late time.Duration `json:"late,omitempty"`
}

// runs says whether the worker runs generation n or a later one.
func (w WorkerStatus) runs(n int64) bool { return w.Applied >= n }

// CheckRequest is the body of POST /api/v1/check.
type CheckRequest struct {
	Main  string            `json:"main"`
	Files map[string]string `json:"files"`
	// Stage is the number the generation gets if all agree; 0 when nobody means to push it. A director without
	// objections then accepts its adverts, for others will run it some moments earlier.
	Stage int64 `json:"stage,omitempty"`
}

// CheckResult is one director's opinion of a configuration, including what only it can know: its interfaces and scripts.
type CheckResult struct {
	Node        string              `json:"node"`
	Diagnostics []config.Diagnostic `json:"diagnostics"`
}

// PushRequest is the body of POST /api/v1/push.
type PushRequest struct {
	ID      string            `json:"id"` // chosen by the pusher; the same in a retry
	Author  string            `json:"author"`
	Message string            `json:"message,omitempty"`
	Main    string            `json:"main"`
	Files   map[string]string `json:"files"`
	IfRev   *int64            `json:"if_rev,omitempty"` // the active generation must be this one
	Strict  bool              `json:"strict,omitempty"` // warnings are errors
	DryRun  bool              `json:"dry_run,omitempty"`
	Wait    time.Duration     `json:"wait_ns,omitempty"` // for directors to run it; 30 s when 0
}

// PushEvent is one line of the answer to a push: its progress, in order. The last has Step "done" or "failed".
type PushEvent struct {
	Step       string   `json:"step"` // render, ask, commit, apply, done, failed
	Node       string   `json:"node,omitempty"`
	OK         bool     `json:"ok"`
	Detail     string   `json:"detail,omitempty"`
	Generation int64    `json:"generation,omitempty"`
	Base       int64    `json:"base,omitempty"`   // the generation active before
	Result     string   `json:"result,omitempty"` // of done: active, unchanged or checked
	Nodes      []string `json:"nodes,omitempty"`  // of render: for whom
	Error      *Error   `json:"failure,omitempty"`

	Diagnostics []config.Diagnostic `json:"diagnostics,omitempty"` // warnings
}

// GenerationInfo is a generation without its files.
type GenerationInfo struct {
	Number  int64     `json:"number"`
	ID      string    `json:"id"`
	Author  string    `json:"author"`
	Time    time.Time `json:"time"`
	Message string    `json:"message,omitempty"`
	Main    string    `json:"main"`
	Hash    string    `json:"hash"`
	Active  bool      `json:"active"`
}

// CreatedToken is the answer to POST /api/v1/tokens.
type CreatedToken struct {
	Token   string    `json:"token"`
	Hash    string    `json:"hash"`
	Expires time.Time `json:"expires"`
}
