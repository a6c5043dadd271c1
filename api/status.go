package api

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"quorate/cluster"
	"quorate/node"
)

// Verdict is the one word about the whole cluster.
type Verdict string

// Verdicts, from good to bad.
const (
	Healthy  Verdict = "HEALTHY"
	Degraded Verdict = "DEGRADED" // everything is served, but something needs attention
	Critical Verdict = "CRITICAL" // an address or a service is not served as it should be
)

// Problem is one thing that is not as it should be and what to do about it.
type Problem struct {
	Verdict Verdict `json:"severity"` // HEALTHY for a mere remark
	Subject string  `json:"subject"`  // a node, an instance, a service
	Text    string  `json:"text"`
	Todo    string  `json:"todo,omitempty"`
}

// Status is the whole cluster as seen from one member: what GET /api/v1/status answers.
type Status struct {
	APIVersion string          `json:"apiVersion"`
	Verdict    Verdict         `json:"verdict"`
	Problems   []Problem       `json:"problems"`
	Cluster    string          `json:"cluster"`
	From       string          `json:"from"` // the member that answered
	Time       time.Time       `json:"time"`
	Quorum     bool            `json:"quorum"`
	Leader     string          `json:"leader,omitempty"`
	Term       uint64          `json:"term"`
	Generation int64           `json:"generation"` // active, as this member knows it
	PushedBy   string          `json:"pushed_by,omitempty"`
	PushedAt   time.Time       `json:"pushed_at,omitzero"`
	Nodes      []NodeLine      `json:"nodes"`
	VIPs       []VIPLine       `json:"vips"`
	Services   []ServiceStatus `json:"services"`
}

// NodeLine is one director in Status.
type NodeLine struct {
	Name       string                `json:"name"`
	Address    string                `json:"address"`
	State      string                `json:"state"` // ready, impaired or unreachable
	Role       string                `json:"role"`  // leader, follower, learner; what the answering member knows
	Version    string                `json:"version,omitempty"`
	Generation int64                 `json:"generation"` // the lowest that all its workers run
	Saved      int64                 `json:"saved"`
	Masters    int                   `json:"masters"`
	Backups    int                   `json:"backups"`
	Faults     int                   `json:"faults"`
	Instances  []node.InstanceStatus `json:"instances,omitempty"`
	Services   []node.ServiceStatus  `json:"services,omitempty"`
	Workers    []WorkerStatus        `json:"workers,omitempty"`
	Missing    []string              `json:"missing,omitempty"`
	Heard      []node.HeardRouter    `json:"heard,omitempty"`
	Error      string                `json:"error,omitempty"`
}

// VIPLine is one virtual address in Status.
type VIPLine struct {
	VIP      string      `json:"vip"`
	Instance string      `json:"instance"`
	VRID     int         `json:"vrid"`
	Owner    string      `json:"owner,omitempty"` // node name; empty when there is none or more than one
	Owners   []string    `json:"owners"`          // everyone who says MASTER
	Heard    string      `json:"heard,omitempty"` // the owner's address as backups hear it, when no member that answers owns it
	Since    time.Time   `json:"since,omitzero"`
	Next     []Candidate `json:"next"`
	Reason   string      `json:"reason,omitempty"` // of the owner's transition
	Detail   string      `json:"detail,omitempty"`
}

// Candidate is a director that could own a VIP, in the order in which they would.
type Candidate struct {
	Node     string `json:"node"`
	State    string `json:"state"`
	Priority int    `json:"priority"`
}

// ServiceStatus is one virtual server in Status, as the director that owns its address sees it.
type ServiceStatus struct {
	node.ServiceStatus
	On    string `json:"on"` // whose view
	Up    int    `json:"up"`
	Total int    `json:"total"`
}

// certWarning is when an end of a certificate becomes a problem: members renew long before.
const certWarning = 30 * 24 * time.Hour

// Merge makes one picture of what every member says, or fails to say. It is a pure function of its arguments: self is the
// member that asked, whose view counts for what the others cannot know better.
func Merge(self string, reports []NodeReport, now time.Time) *Status {
	s := &Status{APIVersion: "v1", From: self, Time: now, Problems: []Problem{}, Nodes: []NodeLine{}, VIPs: []VIPLine{}, Services: []ServiceStatus{}}
	reports = slices.Clone(reports)
	slices.SortFunc(reports, func(a, b NodeReport) int { return cmp.Compare(a.Member.Name, b.Member.Name) })
	own := s.chooseView(reports)
	for _, r := range reports {
		if r.Status != nil && r.Status.Generation.Saved == s.Generation && !r.Status.Generation.Time.IsZero() {
			s.PushedBy, s.PushedAt = r.Status.Generation.Author, r.Status.Generation.Time
		}
	}
	s.mergeRemoval(reports)
	s.mergeQuorum(reports)
	for _, r := range reports {
		s.mergeNode(r, own)
	}
	s.mergeVIPs(reports)
	s.mergeServices(reports)
	if s.Generation == 0 {
		s.note(Healthy, s.Cluster, "no configuration has been pushed yet", "clusterctl push keepalived.conf")
	}
	slices.SortStableFunc(s.Problems, func(a, b Problem) int { return cmp.Compare(b.Verdict.rank(), a.Verdict.rank()) })
	s.Verdict = Healthy
	if len(s.Problems) > 0 {
		s.Verdict = s.Problems[0].Verdict
	}
	return s
}

// chooseView takes quorum, leader and generation from the asking member or, when its own store is of no help, from one that has
// quorum: it answered, so it is not cut off.
func (s *Status) chooseView(reports []NodeReport) cluster.Status {
	var view *NodeStatus
	for _, r := range reports {
		if r.Status == nil {
			continue
		}
		if r.Member.Name == s.From {
			s.Cluster = r.Status.Cluster.Name
			s.Generation = r.Status.Generation.Saved
		}
		if r.Status.StoreError != "" || !r.Status.Store.HasQuorum {
			continue
		}
		if view == nil || r.Member.Name == s.From {
			view = r.Status
		}
	}
	if view == nil {
		return cluster.Status{}
	}
	s.Quorum, s.Term, s.Generation = true, view.Store.Term, view.Generation.Committed
	for _, r := range reports {
		if r.Member.ID == view.Store.Leader {
			s.Leader = r.Member.Name
		}
	}
	return view.Store
}

func (v Verdict) rank() int { return slices.Index([]Verdict{Healthy, Degraded, Critical}, v) }

func (s *Status) note(v Verdict, subject, text, todo string) {
	s.Problems = append(s.Problems, Problem{Verdict: v, Subject: subject, Text: text, Todo: todo})
}

// mergeRemoval says what a removed member cannot learn from its own copy of the store.
func (s *Status) mergeRemoval(reports []NodeReport) {
	var say []string
	for _, r := range reports {
		if r.Denied {
			say = append(say, r.Member.Name)
		}
	}
	if len(say) > 0 {
		s.note(Degraded, s.From, fmt.Sprintf("%s was removed from the cluster: %s take it for a stranger", s.From, strings.Join(say, ", ")),
			"stop clusterd here; to use the host again, empty its state directory and join it anew")
	}
}

func (s *Status) mergeQuorum(reports []NodeReport) {
	if s.Quorum {
		return
	}
	var silent []string
	for _, r := range reports {
		if r.Status == nil {
			silent = append(silent, r.Member.Name)
		}
	}
	text := fmt.Sprintf("NO QUORUM: %s sees no leader", s.From)
	todo := "wait for the election, which takes a few seconds"
	if len(silent) > 0 {
		text = "NO QUORUM: " + strings.Join(silent, ", ") + map[bool]string{true: " does not answer", false: " do not answer"}[len(silent) == 1]
		todo = "start clusterd on " + strings.Join(silent, ", ") + " or repair the network between the members"
	}
	s.note(Degraded, s.Cluster, text+"; VRRP and health checks keep working, the configuration is read-only", todo)
}

func (s *Status) mergeNode(r NodeReport, own cluster.Status) {
	n := NodeLine{Name: r.Member.Name, Address: r.Member.Address, State: "ready", Role: "follower"}
	switch {
	case r.Member.Learner:
		n.Role = "learner"
	case r.Member.ID == own.Leader && s.Quorum:
		n.Role = "leader"
	}
	st := r.Status
	if st == nil {
		n.State, n.Role, n.Error = "unreachable", "-", r.Err
		s.note(Degraded, n.Name, fmt.Sprintf("%s does not answer: %s", n.Name, r.Err), fmt.Sprintf("on %s: systemctl status clusterd", n.Name))
		s.Nodes = append(s.Nodes, n)
		return
	}
	n.Version, n.Saved, n.Missing, n.Workers = st.Version, st.Generation.Saved, st.Missing, st.Workers
	n.Instances, n.Services, n.Heard = st.Instances, st.Services, st.Heard
	for _, in := range st.Instances {
		switch in.State {
		case "MASTER":
			n.Masters++
		case "FAULT":
			n.Faults++
		default:
			n.Backups++
		}
	}
	bad := func(text, todo string) {
		n.State = "impaired"
		if n.Error == "" {
			n.Error = text
		}
		s.note(Degraded, n.Name, n.Name+": "+text, todo)
	}
	if st.StoreError != "" {
		bad("the store is not open: "+st.StoreError, fmt.Sprintf("repair the cause on %s (df, journalctl -u clusterd); it is tried again by itself", n.Name))
	}
	if g := st.Generation; g.Error != "" {
		todo := "repair the cause on " + n.Name + "; it is tried again by itself"
		if g.Committed < g.Saved {
			todo = fmt.Sprintf("clusterctl push the file that all shall run; what %s runs is in its state directory, generations", n.Name)
		}
		bad("cannot take over the active generation: "+g.Error, todo)
	}
	n.Generation = st.Generation.Saved
	for _, w := range st.Workers {
		n.Generation = min(n.Generation, w.Applied)
		switch {
		case !w.Alive && w.Seen.IsZero():
			bad(fmt.Sprintf("the %s worker has not been heard yet", w.Worker), "on "+n.Name+": journalctl -u clusterd")
		case !w.Alive:
			bad(fmt.Sprintf("the %s worker has been silent for %s", w.Worker, st.Time.Sub(w.Seen).Round(time.Second)), "on "+n.Name+": journalctl -u clusterd")
		case w.Error != "":
			bad(fmt.Sprintf("the %s worker cannot run generation %d: %s", w.Worker, w.Failed, w.Error), "push a repaired file, or go back: clusterctl rollback")
		}
	}
	if n.State == "ready" && n.Generation < s.Generation {
		bad(fmt.Sprintf("runs generation %d, active is %d", n.Generation, s.Generation), "usually a matter of seconds; else on "+n.Name+": journalctl -u clusterd")
	}
	for _, m := range st.Missing {
		s.note(Degraded, n.Name, n.Name+": missing "+m, "")
	}
	switch left := st.CertExpires.Sub(st.Time); {
	case st.CertExpires.IsZero():
	case left < 0:
		bad("its certificate expired "+day(st.CertExpires), "it renews itself from the store: check its clock and its log")
	case left < certWarning:
		bad("its certificate expires "+day(st.CertExpires)+reason(st.CertError), "it renews itself from the store: check its clock and its log")
	}
	s.Nodes = append(s.Nodes, n)
}

func reason(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}
