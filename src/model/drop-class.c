/* SPDX-License-Identifier: Apache-2.0 */
#include "model/drop-class.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

struct row {
	const char *reason;
	enum sonde_drop_class class;
	const char *means, *cause;
};

/*
 * Sorted by strcmp(). LOSS: a segment that the other end must send again, or a handshake that had no
 * room. DUPLICATE: what the receiver had already. REFUSED: a segment that the protocol's rules or an
 * authentication turn away. TEARDOWN: queues emptied because the connection ends. A reason that is not
 * here is UNCLASSIFIED, as the kernel's own NOT_SPECIFIED is: shown by name, never counted as loss.
 */
static const struct row rows[] = {
	{"BPF_CGROUP_EGRESS", SONDE_DROP_LOSS, "a BPF program of the sender's cgroup refused it",
	 "a network policy by cgroup: bpftool cgroup tree"},
	{"CAKE_FLOOD", SONDE_DROP_LOSS, "the cake qdisc thinned out a flow that does not slow down",
	 "the link is full: tc -s qdisc"},
	{"CPU_BACKLOG", SONDE_DROP_LOSS, "a CPU's queue of received packets was full",
	 "one CPU takes all packets: net.core.netdev_max_backlog, RSS or RPS"},
	{"DEV_HDR", SONDE_DROP_LOSS, "the link header could not be made",
	 "no hardware address for the next hop"},
	{"DEV_READY", SONDE_DROP_LOSS, "the device was not ready to send",
	 "a tunnel or tap that nobody reads, or an interface going down"},
	{"DUALPI2_STEP_DROP", SONDE_DROP_LOSS, "the dualpi2 qdisc dropped beyond its step",
	 "the link is full and the flow has no ECN: tc -s qdisc"},
	{"DUP_FRAG", SONDE_DROP_DUPLICATE, "an IP fragment that had arrived already",
	 "a duplicated packet on the path; harmless"},
	{"FQ_BAND_LIMIT", SONDE_DROP_LOSS, "a band of the fq qdisc was full",
	 "the link is slower than what is sent: tc -s qdisc"},
	{"FQ_FLOW_LIMIT", SONDE_DROP_LOSS, "this flow had too many packets in the fq qdisc",
	 "one flow sends faster than it is paced: flow_limit of fq"},
	{"FQ_HORIZON_LIMIT", SONDE_DROP_LOSS, "its send time was too far ahead for fq",
	 "SO_TXTIME or pacing asks for a time beyond fq's horizon"},
	{"FRAG_REASM_TIMEOUT", SONDE_DROP_LOSS, "not all fragments of a packet came in time",
	 "a fragment was lost: the path's MTU is smaller than the sender thinks"},
	{"FRAG_TOO_FAR", SONDE_DROP_LOSS, "too many fragments of others came in between",
	 "fragments out of order or lost: net.ipv4.ipfrag_max_dist"},
	{"FULL_RING", SONDE_DROP_LOSS, "the ring of a device was full",
	 "a tun, tap or virtio reader does not keep up"},
	{"HDR_TRUNC", SONDE_DROP_LOSS, "the packet is shorter than its headers say",
	 "a broken sender or a damaged packet"},
	{"IPV6DISABLED", SONDE_DROP_REFUSED, "IPv6 is off on that interface",
	 "net.ipv6.conf.*.disable_ipv6; the peer tries IPv6 first"},
	{"IP_CSUM", SONDE_DROP_LOSS, "its IP header checksum is wrong",
	 "damage on the path, or a broken offload"},
	{"IP_INADDRERRORS", SONDE_DROP_LOSS,
	 "its destination is not an address of this host, and it does not forward",
	 "a stale route or neighbour at the sender, or ip_forward is off"},
	{"IP_INHDR", SONDE_DROP_LOSS, "its IP header is not valid",
	 "a broken sender or a damaged packet"},
	{"IP_INNOROUTES", SONDE_DROP_LOSS, "no route to its destination on receipt",
	 "a route is missing: ip route get"},
	{"IP_NOPROTO", SONDE_DROP_REFUSED, "nobody here takes this IP protocol",
	 "the protocol's module is not loaded, or it is not meant for this host"},
	{"IP_OUTNOROUTES", SONDE_DROP_LOSS, "no route to its destination on sending",
	 "a route is missing or went away: ip route get"},
	{"IP_RPFILTER", SONDE_DROP_LOSS,
	 "the answer to its source would leave by another interface",
	 "asymmetric routes: net.ipv4.conf.*.rp_filter"},
	{"NEIGH_CREATEFAIL", SONDE_DROP_LOSS, "no entry for the next hop could be made",
	 "the neighbour table is full: net.ipv4.neigh.default.gc_thresh3"},
	{"NEIGH_DEAD", SONDE_DROP_LOSS, "the next hop's entry was just removed",
	 "the neighbour or its interface went away"},
	{"NEIGH_FAILED", SONDE_DROP_LOSS, "the next hop does not answer ARP or neighbour discovery",
	 "the peer or gateway is down, or not on this link: ip neigh"},
	{"NEIGH_HH_FILLFAIL", SONDE_DROP_LOSS,
	 "the link header of the next hop could not be filled in",
	 "the neighbour's hardware address changed or is missing"},
	{"NEIGH_QUEUEFULL", SONDE_DROP_LOSS, "too many packets waited for the next hop's address",
	 "the peer or gateway answers ARP slowly or not at all: ip neigh"},
	{"NETFILTER_DROP", SONDE_DROP_LOSS, "a netfilter rule dropped it",
	 "a firewall or network policy: nft list ruleset, iptables -L -v"},
	{"NOMEM", SONDE_DROP_LOSS, "the kernel had no memory for it",
	 "memory is short: dmesg, /proc/meminfo"},
	{"NO_SOCKET", SONDE_DROP_REFUSED, "nobody listens or is connected there",
	 "the service is down or still starts, the port is wrong, or the connection is over on this end"},
	{"NO_TX_TARGET", SONDE_DROP_LOSS, "the bridge, team or bond had no port to send it by",
	 "no link is up among its ports"},
	{"PFMEMALLOC", SONDE_DROP_LOSS, "it lay in memory that is kept for emergencies",
	 "memory is short: the kernel keeps its reserve for swapping"},
	{"PKT_TOO_BIG", SONDE_DROP_LOSS, "it is larger than what the link takes",
	 "an MTU along the path is smaller, and ICMP that says so is lost"},
	{"PKT_TOO_SMALL", SONDE_DROP_LOSS, "it is shorter than its headers",
	 "a broken sender or a damaged packet"},
	{"PROTO_MEM", SONDE_DROP_LOSS, "all sockets of the protocol together use too much memory",
	 "net.ipv4.tcp_mem or udp_mem: applications do not read"},
	{"QDISC_CONGESTED", SONDE_DROP_LOSS, "the qdisc dropped to tell the flow to slow down",
	 "the link is full; with ECN it would be a mark: tc -s qdisc"},
	{"QDISC_DROP", SONDE_DROP_LOSS, "the qdisc dropped it",
	 "the link's queue is full, or a shaper or netem is set: tc -s qdisc"},
	{"QDISC_OVERLIMIT", SONDE_DROP_LOSS, "the qdisc's limit was reached",
	 "the queue of the link is full: tc -s qdisc"},
	{"QUEUE_PURGE", SONDE_DROP_TEARDOWN, "its queue was emptied",
	 "the socket or the device went away with it; no loss of its own"},
	{"RECURSION_LIMIT", SONDE_DROP_LOSS,
	 "it went through too many devices on top of each other",
	 "a loop of tunnels or virtual devices"},
	{"SECURITY_HOOK", SONDE_DROP_LOSS, "a security module refused it",
	 "SELinux, AppArmor or a BPF LSM policy: the audit log"},
	{"SKB_CSUM", SONDE_DROP_LOSS, "its checksum is wrong",
	 "damage on the path, or a broken offload: ethtool -K"},
	{"SKB_GSO_SEG", SONDE_DROP_LOSS, "it could not be cut into segments",
	 "an offload that the device or a tunnel does not support"},
	{"SKB_UCOPY_FAULT", SONDE_DROP_LOSS, "it could not be copied from the program",
	 "the program gave memory that it does not have"},
	{"SOCKET_BACKLOG", SONDE_DROP_LOSS, "the socket was busy and its backlog full",
	 "one thread holds the socket while much arrives: a larger SO_RCVBUF, or more threads"},
	{"SOCKET_CLOSE", SONDE_DROP_TEARDOWN, "the socket was closed with it",
	 "the program closed before it had read everything"},
	{"SOCKET_FILTER", SONDE_DROP_LOSS, "a filter of the socket refused it",
	 "SO_ATTACH_FILTER or SO_ATTACH_BPF of the program"},
	{"SOCKET_RCVBUFF", SONDE_DROP_LOSS, "the socket's receive buffer was full",
	 "the program reads too slowly, or SO_RCVBUF is small"},
	{"TCP_ABORT_ON_DATA", SONDE_DROP_TEARDOWN,
	 "data came for a connection that this end had given up",
	 "the program closed while the peer still sent"},
	{"TCP_ACK_UNSENT_DATA", SONDE_DROP_REFUSED, "it acknowledges what was never sent",
	 "a forged or very late segment, or a middlebox that rewrites sequences"},
	{"TCP_AOFAILURE", SONDE_DROP_REFUSED, "its TCP-AO signature is wrong",
	 "the keys of the two ends differ"},
	{"TCP_AOKEYNOTFOUND", SONDE_DROP_REFUSED, "its TCP-AO key is not known",
	 "the key is not installed at this end"},
	{"TCP_AONOTFOUND", SONDE_DROP_REFUSED, "it has no TCP-AO signature where one is needed",
	 "the peer does not sign"},
	{"TCP_AOUNEXPECTED", SONDE_DROP_REFUSED, "it has a TCP-AO signature where none is expected",
	 "the peer signs, this end has no key"},
	{"TCP_AUTH_HDR", SONDE_DROP_REFUSED, "its authentication option is malformed",
	 "a broken sender, or a middlebox that changes options"},
	{"TCP_CLOSE", SONDE_DROP_TEARDOWN, "its connection is closed",
	 "a segment that was still under way when this end closed"},
	{"TCP_CSUM", SONDE_DROP_LOSS, "its TCP checksum is wrong",
	 "damage on the path, or a broken offload: ethtool -K"},
	{"TCP_FASTOPEN", SONDE_DROP_REFUSED, "a TCP Fast Open request was not taken",
	 "its cookie is old, or the queue is full; the peer tries again without"},
	{"TCP_FLAGS", SONDE_DROP_REFUSED, "its flags make no sense in this state",
	 "a segment of an older connection, a scan, or a middlebox"},
	{"TCP_INVALID_ACK_SEQUENCE", SONDE_DROP_REFUSED,
	 "its acknowledgement is outside what was sent",
	 "a segment of an older connection, or a middlebox"},
	{"TCP_INVALID_END_SEQUENCE", SONDE_DROP_REFUSED, "it ends beyond the window",
	 "the peer sends more than it was allowed"},
	{"TCP_INVALID_SEQUENCE", SONDE_DROP_REFUSED, "it lies outside the window",
	 "a segment of an older connection, or sent again after it was received"},
	{"TCP_INVALID_SYN", SONDE_DROP_REFUSED, "a SYN within a connection",
	 "the peer restarted and uses the same port again"},
	{"TCP_LISTEN_OVERFLOW", SONDE_DROP_LOSS, "the listener's accept queue was full",
	 "the program accepts too slowly: a larger backlog, net.core.somaxconn"},
	{"TCP_MD5FAILURE", SONDE_DROP_REFUSED, "its MD5 signature is wrong",
	 "the keys of the two ends differ"},
	{"TCP_MD5NOTFOUND", SONDE_DROP_REFUSED, "it has no MD5 signature where one is needed",
	 "the peer does not sign"},
	{"TCP_MD5UNEXPECTED", SONDE_DROP_REFUSED, "it has an MD5 signature where none is expected",
	 "the peer signs, this end has no key"},
	{"TCP_MINTTL", SONDE_DROP_REFUSED, "its TTL is below the socket's minimum",
	 "IP_MINTTL: the peer is further away than allowed"},
	{"TCP_OFOMERGE", SONDE_DROP_DUPLICATE, "what it holds had arrived out of order already",
	 "sent again though nothing was lost; harmless"},
	{"TCP_OFO_DROP", SONDE_DROP_DUPLICATE,
	 "what it holds waits in the out-of-order queue already",
	 "sent again though nothing was lost; harmless"},
	{"TCP_OFO_QUEUE_PRUNE", SONDE_DROP_LOSS, "out-of-order data was thrown away to save memory",
	 "the receive buffer is full behind a hole: the program reads slowly, or a segment is lost"},
	{"TCP_OLD_ACK", SONDE_DROP_DUPLICATE, "an acknowledgement that is older than the newest",
	 "segments overtook each other; harmless"},
	{"TCP_OLD_DATA", SONDE_DROP_DUPLICATE, "data that had arrived already",
	 "a retransmit that was not needed, or a keep-alive probe"},
	{"TCP_OLD_SEQUENCE", SONDE_DROP_DUPLICATE, "its sequence lies before the window",
	 "a retransmit that was not needed, or a keep-alive probe"},
	{"TCP_OVERWINDOW", SONDE_DROP_LOSS, "it lies beyond the receive window",
	 "the peer sent more than this end had room for"},
	{"TCP_RESET", SONDE_DROP_TEARDOWN, "it reset the connection",
	 "the peer aborted: its program died or closed with data unread"},
	{"TCP_RFC7323_PAWS", SONDE_DROP_DUPLICATE, "its timestamp is older than the last one",
	 "a segment of long ago, or a duplicate"},
	{"TCP_RFC7323_PAWS_ACK", SONDE_DROP_DUPLICATE, "an acknowledgement with an older timestamp",
	 "segments overtook each other; harmless"},
	{"TCP_RFC7323_TSECR", SONDE_DROP_REFUSED, "it echoes a timestamp that was never sent",
	 "a forged segment, or a middlebox that rewrites timestamps"},
	{"TCP_RFC7323_TW_PAWS", SONDE_DROP_DUPLICATE,
	 "its timestamp is older than the connection before it had",
	 "the port is used again too soon by a peer behind NAT"},
	{"TCP_TOO_OLD_ACK", SONDE_DROP_DUPLICATE, "an acknowledgement far older than the window",
	 "a segment of long ago, or forged"},
	{"TCP_ZEROWINDOW", SONDE_DROP_LOSS, "it came while this end's window was closed",
	 "the program does not read: its receive buffer is full"},
	{"TC_CHAIN_NOTFOUND", SONDE_DROP_LOSS, "a tc filter jumps to a chain that is not there",
	 "tc rules are incomplete: tc filter show"},
	{"TC_COOKIE_ERROR", SONDE_DROP_LOSS, "tc could not go on where it had stopped",
	 "tc rules changed meanwhile: tc filter show"},
	{"TC_EGRESS", SONDE_DROP_LOSS, "a tc filter or BPF program dropped it on sending",
	 "a network policy of the CNI, or a shaper: tc filter show dev DEV egress"},
	{"TC_INGRESS", SONDE_DROP_LOSS, "a tc filter or BPF program dropped it on receipt",
	 "a network policy of the CNI: tc filter show dev DEV ingress"},
	{"TC_RECLASSIFY_LOOP", SONDE_DROP_LOSS, "tc filters send it round in a loop",
	 "tc rules are wrong: tc filter show"},
	{"XDP", SONDE_DROP_LOSS, "an XDP program dropped it",
	 "a firewall or load balancer in XDP: bpftool net"},
	{"XFRM_POLICY", SONDE_DROP_LOSS, "an IPsec policy does not allow it",
	 "it should have been encrypted, or is for no known association: ip xfrm policy"},
};

/*
 * The ACK that ends a handshake by SYN cookie and finds the accept queue full is dropped as NO_SOCKET, there being no
 * socket to give it to: net/ipv4/syncookies.c and net/ipv6/syncookies.c, tcp_get_cookie_sock(). A reset is not sent,
 * and the client takes the connection for open.
 */
static const struct row cookie_row = {
	"NO_SOCKET", SONDE_DROP_LOSS,
	"the listener's accept queue was full when a handshake by SYN cookie ended",
	"the program accepts too slowly, or its backlog is too small: ss -ltn, net.core.somaxconn"};

static const char *const names[] = {
	[SONDE_DROP_LOSS] = "loss",
	[SONDE_DROP_DUPLICATE] = "duplicate",
	[SONDE_DROP_REFUSED] = "refused",
	[SONDE_DROP_TEARDOWN] = "teardown",
	[SONDE_DROP_UNCLASSIFIED] = "unclassified",
};
_Static_assert(ELEMENTS_OF(names) == _SONDE_DROP_CLASS_MAX, "a name for each class");

const char *sonde_drop_class_name(enum sonde_drop_class c)
{
	assert((unsigned)c < _SONDE_DROP_CLASS_MAX);

	return names[c];
}

static int compare(const void *key, const void *row)
{
	return strcmp(key, ((const struct row *)row)->reason);
}

static const struct row *find(const char *reason)
{
	assert(reason);

	return bsearch(reason, rows, ELEMENTS_OF(rows), sizeof(rows[0]), compare);
}

enum sonde_drop_class sonde_drop_class_of(const char *reason)
{
	const struct row *row = find(reason);

	return row ? row->class : SONDE_DROP_UNCLASSIFIED;
}

const char *sonde_drop_means(const char *reason, const char **ret_cause)
{
	const struct row *row = find(reason);

	*ret_cause = row ? row->cause : NULL;
	return row ? row->means : NULL;
}

/* NULL: @site tells no more than the reason. */
static const struct row *find_at(const char *reason, const char *site)
{
	bool cookie = strcmp(site, "cookie_v4_check") == 0 || strcmp(site, "cookie_v6_check") == 0;

	return cookie && strcmp(reason, cookie_row.reason) == 0 ? &cookie_row : NULL;
}

enum sonde_drop_class sonde_drop_class_at(enum sonde_drop_class c, const char *reason,
					  const char *site)
{
	const struct row *row = find_at(reason, site);

	return row ? row->class : c;
}

const char *sonde_drop_means_at(const char *reason, const char *site, const char **ret_cause)
{
	const struct row *row = find_at(reason, site);

	if (!row)
		return sonde_drop_means(reason, ret_cause);
	*ret_cause = row->cause;
	return row->means;
}

const char *sonde_drop_reason_at(size_t i)
{
	return i < ELEMENTS_OF(rows) ? rows[i].reason : NULL;
}
