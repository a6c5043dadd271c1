// Package probe carries out single attempts of health checks. It decides nothing: package checker does.
//
// A probe is a function that takes a while and says whether the server answered, and in words what happened:
//
//	ok, detail := probe.TCP(ctx, netip.MustParseAddrPort("192.168.2.11:80"), netip.Addr{}, 3*time.Second)
//	check.Step(now, checker.Result{OK: ok, Detail: detail})
//
// The words are for operators: they go into logs, mails and the status of a real server. They name the cause as
// precisely as the kernel tells it, since "connection refused", "no answer within 3s" and "no route to host" send an
// operator to three different places.
package probe
