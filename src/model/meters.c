/* SPDX-License-Identifier: Apache-2.0 */
#include "model/meters.h"

#include <assert.h>
#include <string.h>

#include "base/cleanup.h"

static const struct sonde_meter_info infos[] = {
#define SONDE_METER(id, name, kind, signal, labels, source, help)                                  \
	[SONDE_METER_##id] = {                                                                     \
		name, SONDE_METER_KIND_##kind, SONDE_SIGNAL_##signal, labels, source, help},
#include "model/meters.def"
#undef SONDE_METER
};
_Static_assert(ELEMENTS_OF(infos) == _SONDE_METER_MAX, "a line for each meter");

static const char *const kinds[] = {"counter", "gauge", "histogram"};
_Static_assert(ELEMENTS_OF(kinds) == _SONDE_METER_KIND_MAX, "a name for each kind");

static const struct {
	const char *closer, *kind;
} closes[] = {
	[SONDE_TCP_CLOSE_LOCAL_FIN] = {"local", "fin"},
	[SONDE_TCP_CLOSE_LOCAL_RST] = {"local", "rst"},
	[SONDE_TCP_CLOSE_REMOTE_FIN] = {"remote", "fin"},
	[SONDE_TCP_CLOSE_REMOTE_RST] = {"remote", "rst"},
	[SONDE_TCP_CLOSE_BOTH] = {"both", "fin"},
	[SONDE_TCP_CLOSE_ERROR] = {"error", "error"},
};
_Static_assert(ELEMENTS_OF(closes) == SONDE_TCP_CLOSE_MAX, "words for each close");

static const char *const errnos[] = {
	[SONDE_TCP_CONNECT_ABORTED] = "aborted",
	[SONDE_TCP_CONNECT_ECONNREFUSED] = "ECONNREFUSED",
	[SONDE_TCP_CONNECT_ETIMEDOUT] = "ETIMEDOUT",
	[SONDE_TCP_CONNECT_EHOSTUNREACH] = "EHOSTUNREACH",
	[SONDE_TCP_CONNECT_ENETUNREACH] = "ENETUNREACH",
	[SONDE_TCP_CONNECT_ECONNRESET] = "ECONNRESET",
	[SONDE_TCP_CONNECT_OTHER] = "other",
};
_Static_assert(ELEMENTS_OF(errnos) == SONDE_TCP_CONNECT_ERROR_MAX, "a name for each error");

static const char *const udp_errnos[] = {
	[SONDE_UDP_ECONNREFUSED] = "ECONNREFUSED",
	[SONDE_UDP_EAGAIN] = "EAGAIN",
	[SONDE_UDP_EMSGSIZE] = "EMSGSIZE",
	[SONDE_UDP_ENETUNREACH] = "ENETUNREACH",
	[SONDE_UDP_EHOSTUNREACH] = "EHOSTUNREACH",
	[SONDE_UDP_EPERM] = "EPERM",
	[SONDE_UDP_ENOBUFS] = "ENOBUFS",
	[SONDE_UDP_EINVAL] = "EINVAL",
	[SONDE_UDP_EOTHER] = "other",
};
_Static_assert(ELEMENTS_OF(udp_errnos) == SONDE_UDP_ERROR_MAX, "a name for each error");

static const char *const retransmits[] = {
	[SONDE_TCP_RETRANSMIT_SYN] = "syn",
	[SONDE_TCP_RETRANSMIT_SYNACK] = "synack",
	[SONDE_TCP_RETRANSMIT_FAST] = "fast",
	[SONDE_TCP_RETRANSMIT_RTO] = "rto",
	[SONDE_TCP_RETRANSMIT_TLP] = "tlp",
	[SONDE_TCP_RETRANSMIT_RTO_RECOVERY] = "rto_recovery",
	[SONDE_TCP_RETRANSMIT_OTHER] = "other",
};
_Static_assert(ELEMENTS_OF(retransmits) == SONDE_TCP_RETRANSMIT_MAX, "a name for each kind");

static const char *const wheres[] = {
	[SONDE_TCP_WHERE_SOCKET] = "socket",
	[SONDE_TCP_WHERE_ELSEWHERE] = "elsewhere",
	[SONDE_TCP_WHERE_LISTENER] = "listener",
	[SONDE_TCP_WHERE_BOTH_ENDS] = "both_ends",
};
_Static_assert(ELEMENTS_OF(wheres) == SONDE_TCP_WHERE_MAX, "a name for each place");

static const char *const families[SONDE_TCP_CALL_DIRECTIONS][SONDE_TCP_CALL_FAMILIES] = {
	[SONDE_TCP_CALL_WRITE] = {"write", "writev", "sendto", "sendmsg", "sendmmsg", "sendfile",
				  "splice", "io_uring", "other"},
	[SONDE_TCP_CALL_READ] = {"read", "readv", "recvfrom", "recvmsg", "recvmmsg", "sendfile",
				 "splice", "io_uring", "other"},
};

static const char *const local_errnos[] = {
	[SONDE_TCP_LOCAL_ENETUNREACH] = "ENETUNREACH",
	[SONDE_TCP_LOCAL_EHOSTUNREACH] = "EHOSTUNREACH",
	[SONDE_TCP_LOCAL_EINVAL] = "EINVAL",
	[SONDE_TCP_LOCAL_EADDRNOTAVAIL] = "EADDRNOTAVAIL",
	[SONDE_TCP_LOCAL_EACCES] = "EACCES",
	[SONDE_TCP_LOCAL_OTHER] = "other",
};
_Static_assert(ELEMENTS_OF(local_errnos) == SONDE_TCP_LOCAL_ERROR_MAX, "a name for each error");

const uint32_t sonde_skywalking_bounds_us[SONDE_SKYWALKING_BOUNDS] = {
	0,	10,	50,	100,	 500,	  1000,	   1200,    1500,   1700,
	2000,	2500,	3000,	5000,	 7000,	  10000,   13000,   16000,  20000,
	25000,	30000,	35000,	40000,	 45000,	  50000,   70000,   100000, 150000,
	200000, 300000, 500000, 1000000, 2000000, 3000000, 5000000,
};

const struct sonde_meter_info *sonde_meter_info(enum sonde_meter m)
{
	assert((unsigned)m < _SONDE_METER_MAX);

	return &infos[m];
}

const struct sonde_meter_info *sonde_meter_find(const char *name)
{
	assert(name);

	for (size_t i = 0; i < ELEMENTS_OF(infos); i++) {
		if (strcmp(infos[i].name, name) == 0)
			return &infos[i];
	}
	return NULL;
}

bool sonde_meter_is_sent(const char *name)
{
	static const char prefix[] = "rover_net_p_";
	static const char *const calls[] = {"write", "read", "close", "connect"};
	static const char *const others[] = {
		"write_bytes_counter",	      "read_bytes_counter",  "write_rtt_counts_counter",
		"write_rtt_exe_time_counter", "write_rtt_histogram", "retransmit_counts_counter",
		"drop_counts_counter"};
	static const char *const of_calls[] = {"counts_counter", "exe_time_counter",
					       "exe_time_histogram"};
	const char *rest = name;

	assert(name);

	if (sonde_meter_find(name))
		return true;
	if (strncmp(name, prefix, strlen(prefix)) != 0)
		return false;
	rest += strlen(prefix);
	if (strncmp(rest, "client_", 7) != 0 && strncmp(rest, "server_", 7) != 0)
		return false;
	rest += 7;
	for (size_t i = 0; i < ELEMENTS_OF(others); i++)
		if (strcmp(rest, others[i]) == 0)
			return true;
	for (size_t i = 0; i < ELEMENTS_OF(calls); i++) {
		size_t n = strlen(calls[i]);

		for (size_t k = 0; k < ELEMENTS_OF(of_calls); k++)
			if (strncmp(rest, calls[i], n) == 0 && rest[n] == '_' &&
			    strcmp(rest + n + 1, of_calls[k]) == 0)
				return true;
	}
	return false;
}

const char *sonde_meter_kind_name(enum sonde_meter_kind k)
{
	assert((unsigned)k < _SONDE_METER_KIND_MAX);

	return kinds[k];
}

const char *sonde_meter_closer(enum sonde_tcp_close c)
{
	assert((unsigned)c < SONDE_TCP_CLOSE_MAX);

	return closes[c].closer;
}

const char *sonde_meter_close_kind(enum sonde_tcp_close c)
{
	assert((unsigned)c < SONDE_TCP_CLOSE_MAX);

	return closes[c].kind;
}

const char *sonde_meter_errno(enum sonde_tcp_connect_error e)
{
	assert((unsigned)e < SONDE_TCP_CONNECT_ERROR_MAX);

	return errnos[e];
}

const char *sonde_meter_udp_errno(enum sonde_udp_error e)
{
	assert((unsigned)e < SONDE_UDP_ERROR_MAX);

	return udp_errnos[e];
}

const char *sonde_meter_unit(const char *name)
{
	/* The first that stands in the name. */
	static const char *const units[][2] = {
		{"square_microseconds", "us2"},
		{"nanoseconds", "ns"},
		{"microseconds", "us"},
		{"milliseconds", "ms"},
		{"rate_bytes", "bytes_per_second"},
		{"bytes", "bytes"},
		{"segments", "segments"},
		{"datagrams", "datagrams"},
		{"skbs", "packets"},
		{"calls", "calls"},
		{"connections", "connections"},
	};

	assert(name);

	for (size_t i = 0; i < ELEMENTS_OF(units); i++) {
		if (strstr(name, units[i][0]))
			return units[i][1];
	}
	return "count";
}

const char *sonde_meter_retransmit(enum sonde_tcp_retransmit k)
{
	assert((unsigned)k < SONDE_TCP_RETRANSMIT_MAX);

	return retransmits[k];
}

const char *sonde_meter_where(enum sonde_tcp_where w)
{
	assert((unsigned)w < SONDE_TCP_WHERE_MAX);

	return wheres[w];
}

bool sonde_meter_drop_is_the_receivers(const char *direction, const char *where)
{
	assert(direction && where);

	return strcmp(direction, "transmit") == 0 &&
	       strcmp(where, wheres[SONDE_TCP_WHERE_BOTH_ENDS]) == 0;
}

const char *sonde_meter_call_family(enum sonde_tcp_call_direction d, enum sonde_tcp_call_family f)
{
	assert((unsigned)d < SONDE_TCP_CALL_DIRECTIONS && (unsigned)f < SONDE_TCP_CALL_FAMILIES);

	return families[d][f];
}

const char *sonde_meter_local_errno(enum sonde_tcp_local_error e)
{
	assert((unsigned)e < SONDE_TCP_LOCAL_ERROR_MAX);

	return local_errnos[e];
}

size_t sonde_skywalking_bucket(uint64_t us)
{
	size_t lo = 0, hi = SONDE_SKYWALKING_BOUNDS;

	while (hi - lo > 1) {
		size_t mid = (lo + hi) / 2;

		if (sonde_skywalking_bounds_us[mid] <= us)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}
