package ipvstest

import (
	"errors"
	"fmt"
	"slices"
	"syscall"

	"quorate/ipvs"
)

// ErrClosed is returned by every method after Close.
var ErrClosed = errors.New("ipvs backend is closed")

// Memory is an ipvs.Backend in memory. The zero value is an empty table, ready to use. It is not for several goroutines.
type Memory struct {
	// Strict refuses additions of what exists (EEXIST), and edits and deletions of what does not (ESRCH, ENOENT).
	Strict bool
	// Fail, if set, is asked before each operation; its error becomes the operation's.
	Fail func(ipvs.Op) error
	// Schedulers that can be loaded; nil means those of Linux 6.
	Schedulers []string
	// Log is what was carried out, in order.
	Log []ipvs.Op

	table  ipvs.Table
	closed bool
}

var _ ipvs.Backend = (*Memory)(nil)

// New returns a Memory that holds a copy of the table.
func New(t ipvs.Table) *Memory { return &Memory{table: t.Clone()} }

// Name returns "memory".
func (*Memory) Name() string { return "memory" }

// Close makes further calls fail.
func (m *Memory) Close() error {
	m.closed = true
	return nil
}

// Table returns a sorted copy of the table.
func (m *Memory) Table() (ipvs.Table, error) {
	if m.closed {
		return nil, ErrClosed
	}
	t := m.table.Clone()
	t.Sort()
	return t, nil
}

// Apply carries out ops in order and stops at the first that fails, with an *ipvs.OpError.
func (m *Memory) Apply(ops []ipvs.Op) error {
	if m.closed {
		return ErrClosed
	}
	for _, op := range ops {
		if err := m.apply(op); err != nil {
			return &ipvs.OpError{Op: op, Err: err}
		}
		m.Log = append(m.Log, op)
	}
	return nil
}

// SetConns sets the connection counters of a destination, as traffic would.
func (m *Memory) SetConns(k ipvs.Key, d ipvs.Destination, active, inactive uint32) error {
	i := m.find(k)
	if i < 0 {
		return fmt.Errorf("no service %s", k)
	}
	j := m.findDest(i, d)
	if j < 0 {
		return fmt.Errorf("service %s has no destination %s", k, d.AddrPort())
	}
	dest := &m.table[i].Destinations[j]
	dest.ActiveConns, dest.InactiveConns = active, inactive
	return nil
}

func (m *Memory) apply(op ipvs.Op) error {
	if m.Fail != nil {
		if err := m.Fail(op); err != nil {
			return err
		}
	}
	if err := op.Validate(); err != nil {
		return err
	}
	switch op.Kind {
	case ipvs.AddService, ipvs.EditService, ipvs.DeleteService:
		return m.applyService(op)
	default:
		return m.applyDestination(op)
	}
}

func (m *Memory) applyService(op ipvs.Op) error {
	i := m.find(op.Service.Key)
	if op.Kind == ipvs.DeleteService {
		if i < 0 {
			return m.strict(syscall.ESRCH)
		}
		m.table = slices.Delete(m.table, i, i+1)
		return nil
	}
	if !m.known(op.Service.Scheduler) {
		return syscall.ENOENT
	}
	if op.Kind == ipvs.AddService && i >= 0 {
		if err := m.strict(syscall.EEXIST); err != nil {
			return err
		}
	}
	if i >= 0 {
		m.table[i].Service = op.Service
		return nil
	}
	if op.Kind == ipvs.EditService {
		return syscall.ESRCH
	}
	m.table = append(m.table, ipvs.Entry{Service: op.Service})
	return nil
}

func (m *Memory) applyDestination(op ipvs.Op) error {
	i := m.find(op.Service.Key)
	if i < 0 {
		if op.Kind == ipvs.DeleteDestination {
			return m.strict(syscall.ESRCH)
		}
		return syscall.ESRCH
	}
	list := &m.table[i].Destinations
	j := m.findDest(i, op.Destination)
	switch {
	case op.Kind == ipvs.DeleteDestination && j < 0:
		return m.strict(syscall.ENOENT)
	case op.Kind == ipvs.DeleteDestination:
		*list = slices.Delete(*list, j, j+1)
		return nil
	case op.Kind == ipvs.EditDestination && j < 0:
		return syscall.ENOENT
	case op.Kind == ipvs.AddDestination && j >= 0:
		if err := m.strict(syscall.EEXIST); err != nil {
			return err
		}
	}
	d := op.Destination
	d.ActiveConns, d.InactiveConns = 0, 0
	if j < 0 {
		*list = append(*list, d)
		return nil
	}
	d.ActiveConns, d.InactiveConns = (*list)[j].ActiveConns, (*list)[j].InactiveConns
	(*list)[j] = d
	return nil
}

// strict returns the error when strict, and nil when the operation's effect being there already is success.
func (m *Memory) strict(err error) error {
	if m.Strict {
		return err
	}
	return nil
}

func (m *Memory) find(k ipvs.Key) int {
	return slices.IndexFunc(m.table, func(e ipvs.Entry) bool { return e.Service.Compare(k) == 0 })
}

func (m *Memory) findDest(i int, d ipvs.Destination) int {
	return slices.IndexFunc(m.table[i].Destinations, func(h ipvs.Destination) bool { return h.AddrPort() == d.AddrPort() })
}

func (m *Memory) known(scheduler string) bool {
	list := m.Schedulers
	if list == nil {
		list = []string{"rr", "wrr", "lc", "wlc", "fo", "ovf", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "twos"}
	}
	return slices.Contains(list, scheduler)
}
