package host

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	mail "github.com/wneessen/go-mail"

	"quorate/config"
	"quorate/node"
)

// mailer sends notifications by mail, in keepalived's words, beside everything else. What cannot be sent is tried
// again with growing pauses; a queue that is full drops its oldest.
type mailer struct {
	log     *slog.Logger
	trouble func(error) // of the server, nil when it works again; called from the mailer's goroutine
	retry   time.Duration
	wake    chan struct{}
	done    chan struct{}
	cancel  context.CancelFunc

	mu      sync.Mutex
	to      mailTarget
	queue   []letter
	dropped int
}

// mailTarget is what a configuration says about mail.
type mailTarget struct {
	server  string // host:port
	from    string
	to      []string
	router  string
	helo    string
	user    string // smtp_auth; empty: none
	pass    string
	roots   *x509.CertPool // whom to believe; nil: whom the host believes
	timeout time.Duration
}

// letter is a mail that waits.
type letter struct {
	who           string // kind and name
	subject, body string
	at            time.Time
	times         int // the same happened again before it was sent
}

const (
	mailQueue    = 100
	mailRetry    = time.Second // the first pause; it doubles
	mailRetryMax = 5 * time.Minute
	mailAge      = 12 * time.Hour // then a mail is news no more
)

func newMailer(log *slog.Logger, trouble func(error)) *mailer {
	ctx, cancel := context.WithCancel(context.Background())
	m := &mailer{log: log, trouble: trouble, retry: mailRetry, wake: make(chan struct{}, 1), done: make(chan struct{}), cancel: cancel}
	go m.run(ctx)
	return m
}

// Configure takes the settings of a configuration.
func (m *mailer) Configure(g config.Global) {
	t := mailTarget{server: g.SMTPServer.V, from: g.NotificationEmailFrom.V, router: g.RouterID.V, helo: g.SMTPHelo.V, timeout: g.SMTPConnectTimeout.V,
		user: g.SMTPUser.V, pass: g.SMTPPassword.V}
	if _, _, err := net.SplitHostPort(t.server); err != nil {
		t.server = net.JoinHostPort(t.server, "25")
	}
	for _, a := range g.NotificationEmail {
		t.to = append(t.to, a.V)
	}
	host, _ := os.Hostname()
	if t.router == "" {
		t.router = host
	}
	if t.helo == "" {
		t.helo = host
	}
	if t.from == "" {
		t.from = "keepalived@" + host
	}
	if t.timeout <= 0 {
		t.timeout = 30 * time.Second
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.to = t
}

// Tell queues the mail about a notification. It never waits.
func (m *mailer) Tell(n node.Notify) {
	what, body := "VRRP Instance", "=> VRRP Instance is now owning VRRP VIPs <="
	switch {
	case n.Kind == "GROUP":
		what, body = "VRRP Group", "=> All VRRP group instances are now in "+n.State+" state <="
	case n.State != "MASTER":
		body = "=> VRRP Instance is no longer owning VRRP VIPs <="
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	subject := fmt.Sprintf("[%s] %s %s - Entering %s state", m.to.router, what, n.Name, n.State)
	who := n.Kind + " " + n.Name
	for k := len(m.queue) - 1; k >= 0; k-- {
		if m.queue[k].who == who {
			if m.queue[k].subject == subject { // the last word about it: once is enough
				m.queue[k].times++
				return
			}
			break
		}
	}
	if len(m.queue) >= mailQueue {
		m.queue = m.queue[1:]
		m.dropped++
	}
	m.queue = append(m.queue, letter{who: who, subject: subject, body: body, at: time.Now(), times: 1})
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Close gives the queue a last moment.
func (m *mailer) Close(grace time.Duration) {
	end := time.Now().Add(grace)
	for m.waiting() > 0 && time.Now().Before(end) {
		time.Sleep(10 * time.Millisecond)
	}
	m.cancel()
	select {
	case <-m.done:
	case <-time.After(grace):
	}
	if n := m.waiting(); n > 0 {
		m.log.Warn("mails were not sent before the end", "mails", n)
	}
}

func (m *mailer) waiting() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.queue)
}

func (m *mailer) run(ctx context.Context) {
	defer close(m.done)
	pause := m.retry
	for ctx.Err() == nil {
		m.mu.Lock()
		for len(m.queue) > 0 && time.Since(m.queue[0].at) > mailAge {
			m.queue = m.queue[1:]
			m.dropped++
		}
		var l letter
		some, to, dropped := len(m.queue) > 0, m.to, m.dropped
		if some {
			l = m.queue[0]
		}
		m.dropped = 0
		m.mu.Unlock()
		if dropped > 0 {
			m.log.Warn("mails were dropped: the server did not take them in time", "mails", dropped)
		}
		if !some {
			select {
			case <-ctx.Done():
			case <-m.wake:
			}
			continue
		}
		if err := to.send(ctx, l); err != nil {
			if ctx.Err() == nil {
				m.trouble(fmt.Errorf("mail %q to %s: %w", l.subject, to.server, err))
			}
			sleep(ctx, pause)
			pause = min(2*pause, mailRetryMax)
			continue
		}
		pause = m.retry
		m.trouble(nil)
		m.mu.Lock()
		if len(m.queue) > 0 && m.queue[0].at.Equal(l.at) { // it was not dropped meanwhile
			m.queue = m.queue[1:]
		}
		m.mu.Unlock()
	}
}

// send delivers one mail. Port 465 speaks TLS at once (RFC 8314 3.3). Elsewhere STARTTLS is used where it is offered; whose
// certificate it is does not matter, since without it the mail would travel in the clear (RFC 7435). A password, though,
// only goes through TLS to a server whose certificate is right.
func (t mailTarget) send(ctx context.Context, l letter) error {
	host, port, err := net.SplitHostPort(t.server)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	policy, auth := mail.TLSOpportunistic, []mail.Option(nil)
	if t.user != "" {
		policy = mail.TLSMandatory
		auth = append(auth, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(t.user), mail.WithPassword(t.pass))
	}
	if n == 465 {
		auth = append(auth, mail.WithSSL())
	}
	c, err := mail.NewClient(host, append(auth, mail.WithPort(n), mail.WithTimeout(t.timeout), mail.WithHELO(t.helo), mail.WithTLSPolicy(policy),
		mail.WithTLSConfig(&tls.Config{InsecureSkipVerify: t.user == "", ServerName: host, RootCAs: t.roots, MinVersion: tls.VersionTLS12}))...) //nolint:gosec // see above
	if err != nil {
		return err
	}
	msg := mail.NewMsg(mail.WithEncoding(mail.EncodingUSASCII)) // one readable line, as from keepalived
	if err := msg.From(t.from); err != nil {
		return err
	}
	if err := msg.To(t.to...); err != nil {
		return err
	}
	body := l.body
	if l.times > 1 {
		body += fmt.Sprintf("\r\n(%d times since %s)", l.times, l.at.Format(time.RFC3339))
	}
	msg.Subject(l.subject)
	msg.SetDateWithValue(l.at)
	msg.SetGenHeader(mail.HeaderXMailer, "Keepalived")
	msg.SetBodyString(mail.TypeTextPlain, body+"\r\n", mail.WithPartEncoding(mail.NoEncoding))
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	return c.DialAndSendWithContext(ctx, msg)
}
