package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"quorate/cluster"
)

// localGeneration reads a generation from this member's copy of the store.
func localGeneration(st cluster.Store, n int64) (cluster.Generation, error) {
	key := cluster.GenerationKey(n)
	for _, kv := range first(st.LocalRange(key)) {
		if kv.Key == key {
			return cluster.DecodeGeneration(kv.Value)
		}
	}
	return cluster.Generation{}, fmt.Errorf("generation %d: %w", n, cluster.ErrNotFound)
}

// catchUp waits until this member's copy has everything that was acknowledged before, as a director that has just started
// may not. Without a quorum nobody can say, and the copy is the best there is.
func catchUp(ctx context.Context, st cluster.Store) {
	ctx, cancel := context.WithTimeout(ctx, catchUpBudget)
	defer cancel()
	_, _ = st.Get(ctx, cluster.KeyActive)
}

// catchUpBudget is enough for an election and well below what clusterctl waits for an answer.
const catchUpBudget = 5 * time.Second

// handleGenerations lists what was pushed, newest first, from this member's copy: it needs no quorum.
func (s *Server) handleGenerations(r *http.Request) (any, error) {
	st, err := s.replica()
	if err != nil {
		return nil, err
	}
	catchUp(r.Context(), st)
	active := activeNumber(st)
	out := []GenerationInfo{}
	for _, kv := range first(st.LocalRange(cluster.PrefixGenerations)) {
		g, err := cluster.DecodeGeneration(kv.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kv.Key, err)
		}
		out = append(out, GenerationInfo{Number: g.Number, ID: g.ID, Author: g.Author, Time: g.Time, Message: g.Message,
			Main: g.Main, Hash: g.Hash, Active: g.Number == active})
	}
	slices.SortFunc(out, func(a, b GenerationInfo) int { return cmp.Compare(b.Number, a.Number) })
	return out, nil
}

func activeNumber(st cluster.Store) int64 {
	for _, kv := range first(st.LocalRange(cluster.KeyActive)) {
		if kv.Key == cluster.KeyActive {
			if p, err := cluster.DecodePointer(kv.Value); err == nil {
				return p.Number
			}
		}
	}
	return 0
}

// handleGeneration answers one generation with its files; "active" stands for the number of the active one.
func (s *Server) handleGeneration(r *http.Request) (any, error) {
	word := r.PathValue("n")
	st, serr := s.replica()
	n, err := strconv.ParseInt(word, 10, 64)
	switch {
	case word == "active" && serr == nil:
		catchUp(r.Context(), st)
		n = activeNumber(st)
	case word == "active":
		g, err := s.gens.Active() // what this director runs is readable even without the store
		if err != nil {
			return nil, serr
		}
		return g, nil
	case err != nil || n < 1:
		return nil, errf(CodeUsage, "generation %q: want a number from 1, or active", word)
	case serr != nil:
		return nil, serr
	}
	if n == 0 {
		return nil, errf(CodeNotFound, "no configuration has been pushed yet").withHint("clusterctl push keepalived.conf")
	}
	g, err := localGeneration(st, n)
	if errors.Is(err, cluster.ErrNotFound) {
		catchUp(r.Context(), st)
		g, err = localGeneration(st, n)
	}
	if errors.Is(err, cluster.ErrNotFound) {
		return nil, errf(CodeNotFound, "there is no generation %d", n).withHint("clusterctl history lists them")
	}
	return g, err
}

// handleEntries answers this director's journal; ?since= is an RFC 3339 instant.
func (s *Server) handleEntries(r *http.Request) (any, error) {
	var since time.Time
	if v := r.URL.Query().Get("since"); v != "" {
		var err error
		if since, err = time.Parse(time.RFC3339Nano, v); err != nil {
			return nil, errf(CodeUsage, "since: %v", err)
		}
	}
	return s.journal.list(since), nil
}

const storeBudget = 10 * time.Second

// handleTokens lists the join tokens that exist; the secrets are nowhere kept.
func (s *Server) handleTokens(r *http.Request) (any, error) {
	st, err := s.replica()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeBudget)
	defer cancel()
	kvs, _, err := st.Range(ctx, KeyTokens)
	if err != nil {
		return nil, err
	}
	out := []TokenRecord{}
	for _, kv := range kvs {
		var t TokenRecord
		if err := json.Unmarshal(kv.Value, &t); err != nil {
			return nil, fmt.Errorf("%s: %w", kv.Key, err)
		}
		t.Hash = strings.TrimPrefix(kv.Key, KeyTokens)
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b TokenRecord) int { return a.Created.Compare(b.Created) })
	return out, nil
}

// TokenRequest is the body of POST /api/v1/tokens.
type TokenRequest struct {
	TTL time.Duration `json:"ttl_ns"` // 24 h when 0
	By  string        `json:"by"`
}

// maxTokenLife bounds the life of a token: it is a password that admits to the cluster.
const maxTokenLife = 30 * 24 * time.Hour

// handleTokenCreate makes a join token and forgets the ones that expired a day ago.
func (s *Server) handleTokenCreate(r *http.Request) (any, error) {
	var req TokenRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	if req.TTL < 0 || req.TTL > maxTokenLife {
		return nil, errf(CodeUsage, "a token's life of %s: want more than 0 and at most %s", req.TTL, maxTokenLife)
	}
	st, err := s.replica()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeBudget)
	defer cancel()
	var addrs []string
	self := s.id.Load()
	addrs = append(addrs, self.Address)
	for _, m := range s.members() {
		if m.ID != self.ID && len(addrs) < 5 {
			addrs = append(addrs, m.Address)
		}
	}
	tok, err := NewToken(addrs, self.CA)
	if err != nil {
		return nil, err
	}
	now := s.now().UTC().Truncate(time.Second)
	rec := TokenRecord{Created: now, Expires: now.Add(cmp.Or(req.TTL, TokenLife)), By: req.By}
	ops := []cluster.Op{{Key: KeyTokens + tok.Hash(), Value: mustJSON(rec)}}
	for _, kv := range first(st.LocalRange(KeyTokens)) {
		var t TokenRecord
		if json.Unmarshal(kv.Value, &t) == nil && now.Sub(t.Expires) > 24*time.Hour {
			ops = append(ops, cluster.Op{Key: kv.Key})
		}
	}
	if _, err := st.Txn(ctx, cluster.Txn{Then: ops}); err != nil {
		return nil, err
	}
	return CreatedToken{Token: tok.String(), Hash: tok.Hash(), Expires: rec.Expires}, nil
}

// handleTokenRevoke removes a token, named by its hash or the beginning of it.
func (s *Server) handleTokenRevoke(r *http.Request) (any, error) {
	prefix := r.PathValue("hash")
	st, err := s.replica()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeBudget)
	defer cancel()
	kvs, _, err := st.Range(ctx, KeyTokens+prefix)
	if err != nil {
		return nil, err
	}
	switch {
	case len(kvs) == 0:
		return nil, errf(CodeNotFound, "no token whose hash begins with %q", prefix).withHint("clusterctl token list")
	case len(kvs) > 1:
		return nil, errf(CodeUsage, "%d tokens have a hash that begins with %q", len(kvs), prefix).withHint("give more of it")
	}
	if _, err := st.Txn(ctx, cluster.Txn{Then: []cluster.Op{{Key: kvs[0].Key}}}); err != nil {
		return nil, err
	}
	return map[string]string{"revoked": strings.TrimPrefix(kvs[0].Key, KeyTokens)}, nil
}

// handleMemberRemove takes a member out of the cluster for good: it can come back only by joining anew.
func (s *Server) handleMemberRemove(r *http.Request) (any, error) {
	name := r.PathValue("name")
	st, err := s.replica()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(st.Status().Members, func(m cluster.Member) bool { return m.Name == name })
	if i < 0 {
		return nil, errf(CodeNotFound, "no member is named %q", name).withHint("clusterctl status lists them")
	}
	m := st.Status().Members[i]
	if len(st.Status().Members) == 1 {
		return nil, errf(CodeUsage, "%s is the only member", name).withHint("to end the cluster, stop clusterd and remove its state directory")
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeBudget)
	defer cancel()
	if err := st.RemoveMember(ctx, m.ID); err != nil {
		return nil, fmt.Errorf("remove %s: %w", name, err)
	}
	s.log.Info("member removed", "name", m.Name, "id", m.ID)
	return m, nil
}
