package api

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
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
	n.Instances, n.Services = st.Instances, st.Services
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
	if st.Generation.Error != "" {
		bad("cannot take over the active generation: "+st.Generation.Error, "repair the cause on "+n.Name+"; it is tried again by itself")
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

// claim is one director's state of one instance.
type claim struct {
	node string
	in   node.InstanceStatus
	live bool // the vrrp worker that said so is alive
}

func (s *Status) mergeVIPs(reports []NodeReport) {
	var names []string // instances in the order of the first director that has them
	claims := map[string][]claim{}
	silent := 0
	for _, r := range reports {
		if r.Status == nil {
			silent++
			continue
		}
		live := slices.ContainsFunc(r.Status.Workers, func(w WorkerStatus) bool { return w.Worker == "vrrp" && w.Alive })
		for _, in := range r.Status.Instances {
			if claims[in.Name] == nil {
				names = append(names, in.Name)
			}
			claims[in.Name] = append(claims[in.Name], claim{r.Member.Name, in, live})
		}
	}
	for _, name := range names {
		line := vipLine(name, claims[name], reports)
		s.judgeOwner(line, claims[name], silent)
		var vips []string
		for _, c := range claims[name] {
			for _, v := range c.in.VIPs {
				if !slices.Contains(vips, v) {
					vips = append(vips, v)
				}
			}
		}
		for _, v := range vips {
			line.VIP = v
			s.VIPs = append(s.VIPs, line)
		}
	}
}

// vipLine finds the owner of an instance and who would be next.
func vipLine(name string, cs []claim, reports []NodeReport) VIPLine {
	l := VIPLine{Instance: name, VRID: cs[0].in.VRID, Owners: []string{}, Next: []Candidate{}}
	for _, c := range cs {
		switch {
		case c.in.State == "MASTER" && c.live:
			l.Owners = append(l.Owners, c.node)
			l.Owner, l.Since, l.Reason, l.Detail = c.node, c.in.Since, c.in.Reason, c.in.Detail
		default:
			state := c.in.State
			if !c.live {
				state = "SILENT"
			}
			l.Next = append(l.Next, Candidate{Node: c.node, State: state, Priority: c.in.Priority})
			if c.live && c.in.State == "BACKUP" && c.in.Master.IsValid() {
				l.Heard = c.in.Master.String()
			}
		}
	}
	slices.SortStableFunc(l.Next, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(b2i(a.State != "BACKUP"), b2i(b.State != "BACKUP")), cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.Node, b.Node))
	})
	if len(l.Owners) != 1 {
		l.Owner, l.Since, l.Reason, l.Detail = "", time.Time{}, "", ""
	}
	if len(l.Owners) > 0 {
		l.Heard = ""
	} else if l.Heard != "" {
		// A member that lives at the address heard is the owner, unless it says itself that it is not.
		for _, r := range reports {
			denies := slices.ContainsFunc(cs, func(c claim) bool { return c.node == r.Member.Name && c.live })
			if h, _, err := net.SplitHostPort(r.Member.Address); err == nil && h == l.Heard && !denies {
				l.Owner = r.Member.Name
			}
		}
	}
	return l
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (s *Status) judgeOwner(l VIPLine, cs []claim, silent int) {
	switch {
	case len(l.Owners) > 1:
		s.note(Critical, l.Instance, fmt.Sprintf("%s: TWO OWNERS %s; the consensus path between them works, so the adverts are lost on the way",
			l.Instance, strings.Join(l.Owners, " + ")),
			"check firewalls (IP protocol 112, 224.0.0.18), IGMP snooping and VLANs between them; auth_pass and virtual_router_id must agree")
	case len(l.Owners) == 1:
	case l.Heard != "" && l.Owner != "":
		s.note(Degraded, l.Instance, fmt.Sprintf("%s: owned by %s, whose adverts are heard but which does not say so itself", l.Instance, l.Owner), "on "+l.Owner+": systemctl status clusterd")
	case l.Heard != "":
		s.note(Degraded, l.Instance, fmt.Sprintf("%s: owned by %s, which is no member that says so", l.Instance, l.Heard), "a keepalived in the group is fine and a change of owner takes a moment; else look for a stranger with VRID "+fmt.Sprint(l.VRID))
	case silent > 0:
		s.note(Critical, l.Instance, fmt.Sprintf("%s: NO OWNER among the members that answer", l.Instance), "look at the nodes that do not answer")
	default:
		s.note(Critical, l.Instance, fmt.Sprintf("%s: NO OWNER", l.Instance), "an election takes a few seconds; else see the faults below")
	}
	for _, c := range cs {
		if c.in.State == "FAULT" {
			s.note(Degraded, l.Instance, fmt.Sprintf("%s: %s cannot become owner: %s", l.Instance, c.node, cmp.Or(c.in.Detail, c.in.Reason)), "")
		}
	}
}

func (s *Status) mergeServices(reports []NodeReport) {
	owner := map[netip.Addr]string{}
	for _, v := range s.VIPs {
		if a, ok := vipAddr(v.VIP); ok && v.Owner != "" {
			owner[a] = v.Owner
		}
	}
	index := map[string]int{}
	for _, r := range reports {
		if r.Status == nil {
			continue
		}
		for _, sv := range r.Status.Services {
			line := ServiceStatus{ServiceStatus: sv, On: r.Member.Name, Total: len(sv.Servers)}
			for _, rs := range sv.Servers {
				if rs.Up {
					line.Up++
				}
			}
			i, seen := index[sv.Service]
			switch {
			case !seen:
				index[sv.Service] = len(s.Services)
				s.Services = append(s.Services, line)
			case ownerOf(owner, sv.Service) == r.Member.Name:
				s.Services[i] = line
			}
		}
	}
	for _, sv := range s.Services {
		if sv.Up == 0 && sv.Total > 0 {
			s.note(Critical, sv.Service, fmt.Sprintf("%s: no real server is up", sv.Service), "")
		}
		for _, rs := range sv.Servers {
			if !rs.Up {
				s.note(Degraded, sv.Service, fmt.Sprintf("%s: %s down: %s", sv.Service, rs.Server, cmp.Or(rs.Detail, "check failed")), "")
			}
		}
	}
}

// vipAddr takes the address out of "192.168.2.240/24 dev eth0".
func vipAddr(vip string) (netip.Addr, bool) {
	word, _, _ := strings.Cut(vip, " ")
	word, _, _ = strings.Cut(word, "/")
	a, err := netip.ParseAddr(word)
	return a, err == nil
}

// ownerOf takes the address out of "tcp 192.168.2.240:80".
func ownerOf(owner map[netip.Addr]string, service string) string {
	_, ap, _ := strings.Cut(service, " ")
	if a, err := netip.ParseAddrPort(ap); err == nil {
		return owner[a.Addr()]
	}
	return ""
}
