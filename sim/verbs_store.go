package sim

import (
	"errors"
	"fmt"

	"quorate/cluster"
	"quorate/cluster/replica"
	"quorate/sim/wire"
)

// verbPut writes a key without any condition: what a store does with it shows whether it executes every entry once. Once it is acknowledged every other
// director is asked for it.
func (s *Session) verbPut(args []arg, _ string) (string, error) {
	if len(args) < 2 || args[0].op != "" || args[1].op != "" {
		return "", errors.New("expected a key and a value")
	}
	key, value := args[0].key, args[1].key
	s.w.form()
	var m *storeMember
	for _, a := range args[2:] {
		if a.key != "at" || a.op != "=" {
			return "", unexpected(a)
		}
		h, err := s.host(a.val)
		if err != nil {
			return "", err
		}
		if h.disk == nil {
			return "", fmt.Errorf("%s is no member of the cluster", h.Name)
		}
		if m = h.store; m == nil {
			return "", fmt.Errorf("no store runs on %s", h.Name)
		}
	}
	for _, h := range s.w.members {
		if h.store != nil && !h.store.paused() && (m == nil || len(args) == 2 && !m.electing() && h.store.electing()) {
			m = h.store
		}
	}
	t := cluster.Txn{Then: []cluster.Op{{Key: key, Value: []byte(value)}}}
	if err := t.Check(); err != nil {
		return "", err
	}
	if m == nil {
		s.w.note("", EventStore, "put "+key+": no director answers")
		return "", nil
	}
	w := s.w
	w.after(0, func() {
		if m.h.store != m {
			return
		}
		m.txn(t, func(a replica.Answer) {
			if a.Err != nil {
				w.note(m.h.Name, EventStore, fmt.Sprintf("put %s: %v", key, a.Err))
				return
			}
			w.note(m.h.Name, EventStore, fmt.Sprintf("put %s: done, revision %d", key, a.Result.Rev))
			w.judge.acknowledged(m, key, "")
			w.judge.readBack(m)
		})
	})
	return "", nil
}

// verbDisk hurts a director's disk.
func (s *Session) verbDisk(args []arg, _ string) (string, error) {
	if len(args) != 2 {
		return "", errors.New("expected a node and what its disk does")
	}
	h, err := s.host(args[0].key)
	if err != nil {
		return "", err
	}
	s.w.form()
	d := h.disk
	if d == nil {
		return "", fmt.Errorf("%s has no store", h.Name)
	}
	a := args[1]
	switch {
	case a.key == "full" && a.op == "":
		d.full = true
	case a.key == "ok" && a.op == "":
		h.repair()
	case a.key == "slow" && a.op == "=":
		took, err := duration("slow", a.val)
		if err != nil {
			return "", err
		}
		d.latency = wire.Range{Min: took, Max: took}
	case a.key == "crash" && a.op == "=":
		for i, name := range fates() {
			if name == a.val {
				d.fate = fate(i)
				return "", nil
			}
		}
		return "", fmt.Errorf("crash=%s: expected one of %v", a.val, fates())
	default:
		return "", unexpected(a)
	}
	return "", nil
}

// repair makes a disk good again and opens a store that has failed.
func (h *Host) repair() {
	h.disk.full, h.disk.latency, h.disk.fate = false, syncLatency, fateByChance
	if h.store == nil && h.on && (h.proc != nil || !h.ran) {
		h.openStore()
	}
}
