/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* What a connection's numbers mean: why a connect failed, which kind a retransmit is. */

#define ERR_NETUNREACH 101
#define ERR_CONNABORTED 103
#define ERR_CONNRESET 104
#define ERR_TIMEDOUT 110
#define ERR_CONNREFUSED 111
#define ERR_HOSTUNREACH 113

#define ICSK_TIME_LOSS_PROBE 5

/* @error: sk_err at SYN_SENT -> CLOSE. @sent: a SYN went out. */
static __always_inline __u32 connect_error_of(__u32 error, bool sent)
{
	switch (error) {
	case 0:
		/* No SYN: the port was refused (EADDRNOTAVAIL), nobody gave up. */
		return sent ? SONDE_TCP_CONNECT_ABORTED : SONDE_TCP_CONNECT_OTHER;
	case ERR_CONNREFUSED:
		return SONDE_TCP_CONNECT_ECONNREFUSED;
	case ERR_TIMEDOUT:
		return SONDE_TCP_CONNECT_ETIMEDOUT;
	case ERR_HOSTUNREACH:
		return SONDE_TCP_CONNECT_EHOSTUNREACH;
	case ERR_NETUNREACH:
		return SONDE_TCP_CONNECT_ENETUNREACH;
	case ERR_CONNRESET:
		return SONDE_TCP_CONNECT_ECONNRESET;
	default:
		return SONDE_TCP_CONNECT_OTHER;
	}
}

/* In this order: tlp_high_seq is still 0 at a TLP's event, and a fast retransmit is pending LOSS_PROBE too. */
static __always_inline __u32 retransmit_kind_of(__u32 state, __u32 ca_state, __u32 pending)
{
	if (state == TCP_SYN_SENT || state == TCP_SYN_RECV)
		return SONDE_TCP_RETRANSMIT_SYN;
	if (ca_state == TCP_CA_Recovery)
		return SONDE_TCP_RETRANSMIT_FAST;
	if (ca_state == TCP_CA_Loss)
		return pending ? SONDE_TCP_RETRANSMIT_RTO_RECOVERY : SONDE_TCP_RETRANSMIT_RTO;
	if (pending == ICSK_TIME_LOSS_PROBE)
		return SONDE_TCP_RETRANSMIT_TLP;
	return SONDE_TCP_RETRANSMIT_OTHER;
}
