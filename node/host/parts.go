package host

import (
	"encoding/json"
	"time"

	"quorate/node"
)

// partObjects is how many objects one part of a status holds at most.
const partObjects = 100

// SplitStatus cuts a whole status into messages of at most 100 objects, each within
// MaxMessage. head gives the fields every part repeats: Worker, Generation. There is always
// at least one part, and Missing travels in the last.
func SplitStatus(head Message, instances []node.InstanceStatus, services []node.ServiceStatus, missing []string, heard ...node.HeardRouter) []Message {
	head.Kind = KindStatus
	var out []Message
	cur, size, objects := head, 0, 0
	const room = MaxMessage - 4096 // for head and punctuation
	flush := func() {
		out = append(out, cur)
		cur, size, objects = head, 0, 0
	}
	fits := func(n, weight int) {
		if objects > 0 && (objects+weight > partObjects || size+n > room) {
			flush()
		}
		size += n + 1
		objects += weight
	}
	for _, in := range instances {
		fits(jsonLen(in), 1)
		cur.Instances = append(cur.Instances, in)
	}
	for _, s := range services {
		// A service may have more servers than a part has room for: it is then
		// continued under the same name, and Assembler joins it again.
		for first := true; first || len(s.Servers) > 0; first = false {
			piece := s
			piece.Servers = nil
			bytes := jsonLen(piece)
			n := 0
			for n < len(s.Servers) && n < partObjects-1 {
				l := jsonLen(s.Servers[n]) + 1
				if n > 0 && bytes+l > room {
					break
				}
				bytes += l
				n++
			}
			piece.Servers = s.Servers[:n:n]
			s.Servers = s.Servers[n:]
			fits(bytes, 1+n)
			cur.Services = append(cur.Services, piece)
		}
	}
	for _, h := range heard {
		fits(jsonLen(h), 1)
		cur.Heard = append(cur.Heard, h)
	}
	for _, m := range missing {
		fits(len(m)*2+3, 1)
		cur.Missing = append(cur.Missing, m)
	}
	flush()
	for i := range out {
		out[i].Part = i + 1
	}
	out[len(out)-1].Last = true
	return out
}

func jsonLen(v any) int {
	b, err := json.Marshal(v)
	if err != nil {
		return 0
	}
	return len(b)
}

// SendStatus sends the parts in order and stops at the first that is dropped: the
// receiver discards an incomplete status, and the next one comes within seconds.
func (c *Conn) SendStatus(parts []Message) error {
	for _, m := range parts {
		if err := c.Send(m); err != nil {
			return err
		}
	}
	return nil
}

// Status is a whole status of one worker.
type Status struct {
	Worker     string
	Generation int64
	Instances  []node.InstanceStatus
	Services   []node.ServiceStatus
	Missing    []string
	Late       time.Duration
	Heard      []node.HeardRouter
}

// Assembler puts the parts of one worker's statuses together. The zero value is ready.
type Assembler struct {
	next int
	cur  Status
}

// Add takes a KindStatus message; ok is true with the part that completes a status. A
// status of which a part was lost never completes.
func (a *Assembler) Add(m Message) (s Status, ok bool) {
	if m.Part == 1 {
		a.next = 1
		a.cur = Status{Worker: m.Worker, Generation: m.Generation, Late: m.Late}
	}
	if m.Part != a.next || a.next == 0 {
		a.next = 0 // wait for the next first part
		return Status{}, false
	}
	a.next++
	a.cur.Instances = append(a.cur.Instances, m.Instances...)
	for _, sv := range m.Services {
		if n := len(a.cur.Services); n > 0 && a.cur.Services[n-1].Service == sv.Service {
			last := &a.cur.Services[n-1]
			last.Servers = append(last.Servers[:len(last.Servers):len(last.Servers)], sv.Servers...)
			continue
		}
		a.cur.Services = append(a.cur.Services, sv)
	}
	a.cur.Heard = append(a.cur.Heard, m.Heard...)
	a.cur.Missing = append(a.cur.Missing, m.Missing...)
	if !m.Last {
		return Status{}, false
	}
	a.next = 0
	return a.cur, true
}
