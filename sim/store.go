package sim

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"quorate/cluster"
	"quorate/cluster/replica"
	"quorate/sim/wire"
)

// storeMember is a director's part of the replicated store: the production machine of package replica, driven as package raftstore drives it: one
// thing after the other, and waiting while the disk syncs. It lives and dies with the daemon.
//
// Messages are segments of TCP from and to the cluster's port with the frame that raftstore makes. One message is one segment whatever
// its size, and what gets lost on the wire is not sent again: raft itself repeats what matters. Directors know each other's MAC
// addresses.
type storeMember struct {
	h       *Host
	id      uint64
	start   uint64
	rep     *replica.Replica
	working bool
	busy    bool // the disk has a write of it
	synced  bool // and has done it, while the process was paused
	inbox   []replica.Event
	beats   []beat // read last, at most one for each member
	asks    map[cluster.RequestID]func(replica.Answer)
	seq     uint64
	wake    uint64
	wakeAt  time.Duration
	led     uint64 // the last term in which it was leader
	leads   bool
	second  time.Duration // when the present second of the budget began
	inIt    int           // messages sent in it
	seen    int64         // the newest generation it has taken note of
}

// storePort is where members listen: api.DefaultPort.
const storePort = wire.PortRaft

// inboxSize is how many messages wait for a member whose disk syncs or whose process is paused, see raftstore's recvQueue.
const inboxSize = 1024

// storeBudget is how many messages a member may send in a second; an idle leader of four sends 30.
const storeBudget = 5_000

// requestTimeout is raftstore's.
const requestTimeout = 5 * time.Second

// form makes the cluster: every director that runs our program is a voter from the beginning, and the first that is up calls the first
// election at once, as the director does on which a cluster is made.
func (w *World) form() {
	if w.members != nil {
		return
	}
	w.lanes.formed = w.now
	var list []cluster.Member
	for _, h := range w.hosts {
		if h.director && w.opt.Programs[h.Name] == "" {
			w.members = append(w.members, h)
			list = append(list, cluster.Member{ID: uint64(len(w.members)), Name: h.Name, Address: fmt.Sprintf("%v:%d", h.nics[0].base.Addr(), storePort)})
		}
	}
	first, err := replica.First(w.opt.Seed|1, list, nil)
	if err != nil {
		panic("sim: " + err.Error()) // names and addresses
	}
	for _, h := range w.members {
		h.disk = newDisk(w, h.Name, first)
	}
	var caller *storeMember
	for _, h := range w.members {
		if h.on && (h.proc != nil || !h.ran) {
			h.openStore()
			if caller == nil && !h.store.paused() {
				caller = h.store
			}
		}
	}
	if caller != nil {
		caller.feed(replica.Received{Message: &raftpb.Message{Type: raftpb.MsgTimeoutNow.Enum(), To: &caller.id, From: new(uint64(0)), Term: new(uint64(1))}})
	}
}

// openStore starts the host's member from its disk.
func (h *Host) openStore() {
	if h.disk == nil || h.store != nil {
		return
	}
	h.stores++
	m := &storeMember{h: h, id: uint64(slices.Index(h.w.members, h) + 1), asks: map[cluster.RequestID]func(replica.Answer){}, seen: h.generation}
	m.start = h.stores<<8 | m.id
	chance := wire.NewStream(h.w.opt.Seed, fmt.Sprintf("election/%s/%d", h.Name, h.stores))
	from := h.disk.state
	from.Entries = slices.Clone(from.Entries)
	var err error
	m.rep, err = replica.New(h.mono(), replica.Config{
		Self: cluster.Member{ID: m.id, Name: h.Name, Address: fmt.Sprintf("%v:%d", h.nics[0].base.Addr(), storePort)}, Start: m.start,
		Tick: 100 * time.Millisecond, ElectionTicks: 10, Jitter: func(n int) int { return int(chance.Below(uint64(n))) }, NoQuorumAfter: 2 * time.Second,
		SnapshotEvery: 10, SnapshotBytes: 1 << 20, KeepEntries: 5, // so that short runs see snapshots
	}, from)
	if err == nil {
		h.store = m
		h.w.brokenStore(h, "")
		m.work()
		err = m.rep.Campaign()
	}
	if err != nil {
		h.w.judge.violated("the store of %s does not start from its disk: %v", h.Name, err)
		h.storeFailed(err)
		return
	}
	m.work()
}

// endStore ends the member without a word.
func (h *Host) endStore() {
	if h.store != nil && h.store.leads {
		h.w.led(h, 0)
	}
	if h.disk != nil {
		h.disk.crash()
	}
	h.store = nil
}

// storeFailed ends a member that cannot go on. VRRP does.
func (h *Host) storeFailed(err error) {
	h.endStore()
	h.w.note(h.Name, EventStore, "store has failed: "+err.Error())
	h.w.brokenStore(h, "store failed: "+err.Error())
}

func (m *storeMember) paused() bool { return m.h.proc != nil && m.h.proc.paused }

// feed gives the replica an event, now or when the disk and the process let it.
func (m *storeMember) feed(ev replica.Event) {
	if m.busy || m.working || m.paused() {
		if _, tick := ev.(replica.Tick); !tick && len(m.inbox) < inboxSize {
			m.inbox = append(m.inbox, ev)
		}
		return
	}
	m.rep.Step(m.h.mono(), ev)
	m.work()
}

// proceed takes what has waited.
func (m *storeMember) proceed() {
	for steps := 0; m.h.store == m && !m.busy && !m.paused(); steps++ {
		switch {
		case steps > restingSteps:
			m.h.w.raiseStorm("the store of %s does not come to rest after %d steps at one instant", m.h.Name, steps)
			return
		case m.synced:
			m.synced = false
			m.rep.Step(m.h.mono(), replica.Saved{})
		case len(m.inbox) > 0:
			ev := m.inbox[0]
			m.inbox = m.inbox[1:]
			m.rep.Step(m.h.mono(), ev)
		default:
			if at, _ := m.rep.Deadline(); at > m.h.mono() {
				m.arm()
				return
			}
			m.rep.Step(m.h.mono(), replica.Tick{})
		}
		m.drain()
	}
}

// work carries out what the replica wants, takes what has come meanwhile, and schedules the next tick.
func (m *storeMember) work() {
	m.drain()
	switch {
	case m.h.store != m || m.busy:
	case len(m.inbox) > 0:
		m.proceed()
	default:
		m.arm()
	}
}

// drain carries out the replica's actions until it rests or waits for the disk.
func (m *storeMember) drain() {
	m.working = true
	for acts := m.rep.Ready(); len(acts) > 0; acts = m.rep.Ready() {
		for _, a := range acts {
			if m.act(a); m.h.store != m {
				return
			}
		}
	}
	m.working = false
	m.h.w.judge.leads(m)
}

func (m *storeMember) act(a replica.Action) {
	w := m.h.w
	switch a := a.(type) {
	case replica.Save:
		if a.Snapshot != nil {
			w.judge.applied(m) // as long as the disk has the entries
		}
		took, err := m.h.disk.write(a)
		if err != nil {
			m.h.storeFailed(err)
			return
		}
		m.busy = true
		w.after(took, func() {
			if m.h.store != m {
				return
			}
			m.h.disk.sync()
			m.busy, m.synced = false, true
			m.proceed()
		})
	case replica.Send:
		m.send(a.Message)
	case replica.Answer:
		if done := m.asks[a.ID]; done != nil {
			delete(m.asks, a.ID)
			done(a)
		}
	case replica.Report:
		if strings.HasPrefix(a.Text, "installed a snapshot") {
			w.installed++
		}
	case replica.Applied:
		w.judge.applied(m)
		m.applied()
	case replica.Stop:
		if a.Err == nil {
			a.Err = errors.New("closed")
		} else {
			w.judge.violated("the store of %s gives up: %v", m.h.Name, a.Err) // nothing here may remove a member or spoil its log
		}
		m.h.storeFailed(a.Err)
	}
}

// arm schedules the next tick.
func (m *storeMember) arm() {
	d, ok := m.rep.Deadline()
	if !ok {
		return
	}
	at := max(m.h.clock.when(d), m.h.w.now)
	if at == m.wakeAt {
		return
	}
	m.wake++
	m.wakeAt = at
	m.h.w.queue.push(task{at: at, kind: taskTick, host: m.h, gen: m.start<<32 | m.wake})
}

// tick is a wake-up.
func (m *storeMember) tick() {
	m.wakeAt = 0
	if m.busy || m.paused() {
		return // proceed looks at the clock
	}
	m.feed(replica.Tick{})
	if m.h.store == m && len(m.asks) > 0 && m.rep.Lost() && !m.electing() {
		m.feed(replica.GiveUp{Err: cluster.ErrNoQuorum})
	}
}

// electing says that a majority sees each other, so that there will be a leader.
func (m *storeMember) electing() bool {
	n := 0
	for _, h := range m.h.w.members {
		if h == m.h || h.store != nil && linked(m.h, h) {
			n++
		}
	}
	return 2*n > len(m.h.w.members)
}

// ask makes a request of the store's user. done is called once, unless the member ends.
func (m *storeMember) ask(request func(cluster.RequestID) replica.Event, done func(replica.Answer)) {
	m.seq++
	var id cluster.RequestID
	binary.BigEndian.PutUint64(id[:8], m.start)
	binary.BigEndian.PutUint64(id[8:], m.seq)
	m.asks[id] = done
	m.h.w.after(requestTimeout, func() {
		if m.h.store == m && m.asks[id] != nil {
			delete(m.asks, id)
			done(replica.Answer{ID: id, Err: cluster.ErrTimeout})
		}
	})
	m.feed(request(id))
}

// txn asks for a transaction.
func (m *storeMember) txn(t cluster.Txn, done func(replica.Answer)) {
	m.ask(func(id cluster.RequestID) replica.Event {
		return replica.Propose{ID: id, Data: cluster.Command{ID: id, Txn: t}.Encode()}
	}, done)
}

// frameMessage is raftstore's kindMessage.
const frameMessage = 3

// maxStoreMessage is what an IPv4 packet carries.
const maxStoreMessage = 65000

// send puts a message on the wire of the first segment.
func (m *storeMember) send(msg *raftpb.Message) {
	now := m.h.w.now
	if now-m.second > time.Second {
		m.second, m.inIt = now, 0
	}
	if m.inIt++; m.inIt > storeBudget {
		m.h.w.raiseStorm("%s has sent %d messages of the store within %s", m.h.Name, m.inIt, seconds(now-m.second))
	}
	const head = wire.SegmentHeader + 5
	w := m.h.w
	w.segment = append(w.segment[:0], make([]byte, head)...)
	segment, err := proto.MarshalOptions{}.MarshalAppend(w.segment, msg)
	bad := err != nil || len(segment) > maxStoreMessage
	if msg.GetType() == raftpb.MsgSnap {
		m.inbox = append(m.inbox, replica.SnapshotSent{ID: msg.GetTo(), Failed: bad})
	}
	if bad {
		m.h.drops["store message too large"]++
		return
	}
	w.segment = segment // for its memory
	b := segment[wire.SegmentHeader:]
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	b[4] = frameMessage
	h, n, to := m.h, m.h.nics[0], m.h.w.members[msg.GetTo()-1].nics[0]
	src, dst := n.base.Addr(), to.base.Addr()
	h.storeSeq += uint32(len(b))
	wire.FillSegment(segment, src, dst, wire.TCP{Src: storePort, Dst: storePort, Seq: h.storeSeq, Flags: wire.PSH | wire.ACK})
	h.sendIP(n, to.mac, wire.IP{TTL: 64, Protocol: wire.ProtoTCP, Src: src, Dst: dst}, segment)
}

// inputStore takes a segment to the cluster's port.
func (h *Host) inputStore(f wire.Frame) {
	if h.store == nil {
		h.drops["no store"]++
		return
	}
	_, b, err := wire.ParseTCP(f.IP.Src, f.IP.Dst, f.Payload)
	if err != nil {
		h.drops["tcp: "+err.Error()]++
		return
	}
	if len(b) < 5 || int(binary.BigEndian.Uint32(b)) != len(b)-4 || b[4] != frameMessage {
		h.drops["not a store message"]++
		return
	}
	msg := h.store.decode(b[5:])
	if msg == nil {
		h.drops["not a store message"]++
		return
	}
	h.store.feed(replica.Received{Message: msg})
}

// decode reads a message. Nearly all are heartbeats and their answers, each the same octets as the one before: those are read once.
func (m *storeMember) decode(b []byte) *raftpb.Message {
	for i := range m.beats {
		if bytes.Equal(m.beats[i].octets, b) {
			return m.beats[i].msg
		}
	}
	msg := new(raftpb.Message)
	if proto.Unmarshal(b, msg) != nil || msg.GetTo() != m.id {
		return nil
	}
	if t := msg.GetType(); (t == raftpb.MsgHeartbeat || t == raftpb.MsgHeartbeatResp) && len(msg.GetContext()) == 0 {
		if len(m.beats) == len(m.h.w.members) {
			m.beats = m.beats[1:]
		}
		m.beats = append(m.beats, beat{bytes.Clone(b), msg})
	}
	return msg
}

// beat is a message and what it looks like on the wire; raft does not change what it is given.
type beat struct {
	octets []byte
	msg    *raftpb.Message
}
