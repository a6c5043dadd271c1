// Package api is the cluster worker of clusterd and what clusterctl needs to talk to it.
//
// # Becoming a member
//
// Init makes a cluster on its first director, offline: a certificate authority, that director's certificate, the store with the
// authority in it, and a join Token. The token names members, pins the authority by its hash and carries a secret, of which the
// store keeps only the hash. Join runs on every further director: it asks a member named in the token, proves that its address
// leads to it, and gets a certificate and the list of members. Any member can admit, since the authority is in the store. Both
// fill the state directory (Identity) so that a crash leaves either nothing or all of it.
//
// # Running
//
// Run opens the store and listens twice. On the member's address one mutual TLS listener serves the store (ALPN quorate-raft/1)
// and the API (http/1.1); everything but joining needs a certificate of the cluster, which a member renews by itself from its copy
// of the authority when a third of its life is left. On RunDir/ctl.sock the same API serves whoever the file's mode lets in.
// A watcher follows the key of the active generation: it checks the generation's hash, saves it to disk, makes it the one to boot
// from and tells the vrrp and checker workers. Nothing they do waits for it: if the store cannot be opened, because the disk is
// full or the log damaged, the API says so and the attempt is repeated, while the other workers go on with what is on the disk.
// A store that has just been opened may be behind that; since numbers only grow, an older generation is never taken over.
//
// # Push
//
// A push (push.go) renders the file for every member, refuses it with all findings if there are errors, has every member that
// answers check it on its host, commits it with cluster.PushTxn and waits until every director that answered runs it. Members
// that do not answer are named and get it when they are back. The pusher's id makes a repetition find its own first attempt, so
// that no lost answer leads to two generations. What happened before the commit changed nothing and the error says so.
//
// # Status
//
// Every member knows itself (NodeStatus). Merge makes one Status of what all of them say, or fail to say within a second; it is a
// pure function and needs no quorum. A VIP with two owners, or none, is Critical; anything an operator should look at is Degraded.
//
//	GET  /api/v1/node               NodeStatus           GET    /api/v1/tokens           []TokenRecord
//	GET  /api/v1/status             Status               POST   /api/v1/tokens           TokenRequest -> CreatedToken
//	GET  /api/v1/generations        []GenerationInfo     DELETE /api/v1/tokens/HASH
//	GET  /api/v1/generations/N      cluster.Generation   DELETE /api/v1/members/NAME     cluster.Member
//	GET  /api/v1/entries?since=T    []node.Entry         POST   /api/v1/join             with a token instead of a certificate
//	POST /api/v1/check              CheckRequest -> CheckResult
//	POST /api/v1/push               PushRequest -> PushEvent, one per line
//	GET  /healthz                   ok
//
// Errors are an Error in JSON: what failed, a code that scripts can test, and what to do next.
package api
