package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"quorate/cluster"
	"quorate/node"
)

// DefaultSocket is where clusterd listens for clusterctl on the same host.
const DefaultSocket = "/run/quorate/ctl.sock"

// Client calls the API of one member. Its methods return an *Error for everything an API can answer.
type Client struct {
	base string
	http *http.Client
	what string // for texts
}

// NewClient talks to the clusterd whose control socket is at path.
func NewClient(path string) *Client {
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	return &Client{base: "http://clusterd", http: &http.Client{Transport: tr}, what: "clusterd at " + path}
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// do sends a request and returns the answer if it is a good one; the caller closes its body.
func (c *Client) do(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var rd io.Reader
	if body != nil {
		rd = bytes.NewReader(mustJSON(body))
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, rd)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	if res.StatusCode != http.StatusOK {
		defer res.Body.Close()
		return nil, readError(res)
	}
	return res, nil
}

// explain says in an operator's words why a call did not get through.
func (c *Client) explain(err error) error {
	var e *Error
	var ue *url.Error
	if errors.As(err, &e) {
		return e
	}
	if errors.As(err, &ue) {
		err = ue.Err
	}
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return errf(CodeTimeout, "%s has not answered in time", c.what).withHint("try again with a larger --timeout")
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return errf(CodeUnreachable, "%s does not answer: %v", c.what, err).
			withHint("is clusterd running on this host? systemctl status clusterd; another place of the socket: --socket or QUORATE_SOCKET")
	case errors.Is(err, fs.ErrPermission):
		return errf(CodeUnreachable, "%s: %v", c.what, err).withHint("run as root or as a member of the group that owns the socket")
	}
	return errf(CodeUnreachable, "%s: %v", c.what, err)
}

func (c *Client) call(ctx context.Context, method, path string, body, to any) error {
	res, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(to); err != nil {
		if ctx.Err() != nil {
			return c.explain(ctx.Err())
		}
		return fmt.Errorf("answer of %s to %s: %w", c.what, path, err)
	}
	return nil
}

// maxAnswer bounds an answer: the status of a hundred directors with a thousand services each.
const maxAnswer = 256 << 20

func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	var v T
	err := c.call(ctx, http.MethodGet, path, nil, &v)
	return v, err
}

// Node is the member's own view of itself.
func (c *Client) Node(ctx context.Context) (*NodeStatus, error) {
	return get[*NodeStatus](ctx, c, "/api/v1/node")
}

// Status is the whole cluster as the member sees it.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	return get[*Status](ctx, c, "/api/v1/status")
}

// Generations lists what was pushed, newest first.
func (c *Client) Generations(ctx context.Context) ([]GenerationInfo, error) {
	return get[[]GenerationInfo](ctx, c, "/api/v1/generations")
}

// Generation is one with its files; 0 asks for the active one.
func (c *Client) Generation(ctx context.Context, n int64) (cluster.Generation, error) {
	word := fmt.Sprint(n)
	if n == 0 {
		word = "active"
	}
	return get[cluster.Generation](ctx, c, "/api/v1/generations/"+word)
}

// Entries is the member's journal since an instant, oldest first.
func (c *Client) Entries(ctx context.Context, since time.Time) ([]node.Entry, error) {
	return get[[]node.Entry](ctx, c, "/api/v1/entries?since="+url.QueryEscape(since.Format(time.RFC3339Nano)))
}

// Tokens lists the join tokens.
func (c *Client) Tokens(ctx context.Context) ([]TokenRecord, error) {
	return get[[]TokenRecord](ctx, c, "/api/v1/tokens")
}

// CreateToken makes a join token.
func (c *Client) CreateToken(ctx context.Context, r TokenRequest) (CreatedToken, error) {
	var t CreatedToken
	err := c.call(ctx, http.MethodPost, "/api/v1/tokens", r, &t)
	return t, err
}

// RevokeToken removes the token whose hash begins with prefix and returns its whole hash.
func (c *Client) RevokeToken(ctx context.Context, prefix string) (string, error) {
	var t map[string]string
	err := c.call(ctx, http.MethodDelete, "/api/v1/tokens/"+url.PathEscape(prefix), nil, &t)
	return t["revoked"], err
}

// RemoveMember takes a member out of the cluster.
func (c *Client) RemoveMember(ctx context.Context, name string) (cluster.Member, error) {
	var m cluster.Member
	err := c.call(ctx, http.MethodDelete, "/api/v1/members/"+url.PathEscape(name), nil, &m)
	return m, err
}

// sendable refuses files that JSON would silently change, such as those that are not UTF-8.
func sendable(main string, files map[string]string) error {
	g := cluster.Generation{Number: 1, Main: main, Files: files}
	g.Hash = g.ComputeHash()
	if err := g.Check(); err != nil {
		return errf(CodeInvalid, "%s", strings.TrimPrefix(err.Error(), "generation 1: "))
	}
	return nil
}

// Check asks for the member's opinion of a configuration.
func (c *Client) Check(ctx context.Context, r CheckRequest) (*CheckResult, error) {
	if err := sendable(r.Main, r.Files); err != nil {
		return nil, err
	}
	v := &CheckResult{}
	err := c.call(ctx, http.MethodPost, "/api/v1/check", r, v)
	return v, err
}

// Push pushes a configuration and hands every step to progress; it returns the last one. A push that failed after it
// began is an *Error.
func (c *Client) Push(ctx context.Context, r PushRequest, progress func(PushEvent)) (PushEvent, error) {
	if err := sendable(r.Main, r.Files); err != nil {
		return PushEvent{}, err
	}
	res, err := c.do(ctx, http.MethodPost, "/api/v1/push", r)
	if err != nil {
		return PushEvent{}, err
	}
	defer res.Body.Close()
	sc := bufio.NewScanner(res.Body)
	sc.Buffer(make([]byte, 64<<10), maxBody)
	for sc.Scan() {
		var e PushEvent
		if err := json.Unmarshal(sc.Bytes(), &e); err != nil {
			return e, fmt.Errorf("answer of %s to push: %w", c.what, err)
		}
		switch e.Step {
		case "done":
			return e, nil
		case "failed":
			return e, e.Error
		}
		progress(e)
	}
	if ctx.Err() != nil {
		return PushEvent{}, c.explain(ctx.Err())
	}
	return PushEvent{}, errf(CodeUnreachable, "%s went away during the push (%v)", c.what, sc.Err()).
		withHint("it may have been committed: repeat it with --id %s, which finds its own attempt", r.ID)
}
