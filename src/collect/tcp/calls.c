/* SPDX-License-Identifier: Apache-2.0 */
/* Calls: which system calls are of which family, and telling what a cell's record has gained. */
#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

#include "collect/tcp/state.h"
#include "tcp.skel.h"

#define FAMILY(name) (SONDE_TCP_SYSCALL_FAMILY + SONDE_TCP_CALL_##name)

static const struct {
	uint16_t number;
	uint8_t kind; /* enum sonde_tcp_syscall */
} syscalls[] = {
	{SYS_write, FAMILY(PLAIN)},
	{SYS_read, FAMILY(PLAIN)},
	{SYS_writev, FAMILY(VECTOR)},
	{SYS_readv, FAMILY(VECTOR)},
	{SYS_pwritev2, FAMILY(VECTOR)},
	{SYS_preadv2, FAMILY(VECTOR)},
	{SYS_sendto, FAMILY(ADDRESSED)},
	{SYS_recvfrom, FAMILY(ADDRESSED)},
	{SYS_sendmsg, FAMILY(MESSAGE)},
	{SYS_recvmsg, FAMILY(MESSAGE)},
	{SYS_sendmmsg, FAMILY(MESSAGES)},
	{SYS_recvmmsg, FAMILY(MESSAGES)},
	{SYS_sendfile, FAMILY(SENDFILE)},
	{SYS_splice, FAMILY(SPLICE)},
	{SYS_io_uring_enter, FAMILY(IO_URING)},
	{SYS_connect, SONDE_TCP_SYSCALL_CONNECT},
	{SYS_accept, SONDE_TCP_SYSCALL_ACCEPT},
	{SYS_accept4, SONDE_TCP_SYSCALL_ACCEPT},
	{SYS_close, SONDE_TCP_SYSCALL_CLOSE},
};

int tcp_calls_set_up(struct tcp_bpf *skel, uint32_t cells)
{
	for (size_t i = 0; i < ELEMENTS_OF(syscalls); i++) {
		assert(syscalls[i].number < SONDE_TCP_SYSCALLS_MAX);
		skel->rodata->sonde_syscalls[syscalls[i].number] = syscalls[i].kind;
	}
	return bpf_map__set_max_entries(skel->maps.sonde_calls, cells) |
	       bpf_map__set_max_entries(skel->maps.sonde_call_coarse, cells);
}

bool tcp_calls_changed(const struct tcp_state *s, uint32_t index)
{
	const struct tcp_told *told = sonde_told_at(&s->told, index);

	return memcmp(sonde_table_at(&s->calls, index), &told->calls, sizeof(told->calls)) != 0;
}

static uint64_t all_families(const __u64 calls[SONDE_TCP_CALL_FAMILIES])
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < SONDE_TCP_CALL_FAMILIES; i++)
		n += calls[i];
	return n;
}

/* The number of observations that one of its histograms must hold. */
static uint64_t observations(const struct sonde_tcp_calls *c, enum sonde_tcp_call_hist which)
{
	switch (which) {
	case SONDE_TCP_CALL_HIST_WRITE_TIME:
		return c->timed[SONDE_TCP_CALL_WRITE];
	case SONDE_TCP_CALL_HIST_READ_TIME:
		return c->timed[SONDE_TCP_CALL_READ];
	case SONDE_TCP_CALL_HIST_CLOSE_TIME:
		return c->close_count;
	case SONDE_TCP_CALL_HIST_ACCEPT_QUEUE:
		return c->accept_queue_count;
	case SONDE_TCP_CALL_HIST_WRITE_SIZE:
		return all_families(c->calls[SONDE_TCP_CALL_WRITE]);
	case SONDE_TCP_CALL_HIST_READ_SIZE:
		return all_families(c->calls[SONDE_TCP_CALL_READ]);
	default:
		return 0;
	}
}

static int emit_coarse(const struct tcp_state *s, uint32_t index, enum sonde_tcp_call_hist which,
		       struct sonde_collect_sink sink)
{
	const struct sonde_tcp_coarse *hists = sonde_table_at(&s->coarse, index);
	struct sonde_tcp_hist fine = {0};

	for (uint32_t i = 0; i < SONDE_COARSE_BUCKETS; i++)
		fine.count[sonde_coarse_to_fine(i)] =
			*(const volatile uint32_t *)&hists->count[which][i];
	return tcp_emit_hist(&fine, index, SONDE_PROBE_HIST_CALL + which, sink);
}

int tcp_emit_sparse(const struct tcp_state *s, uint32_t index, uint32_t which, uint32_t kind,
		    struct sonde_collect_sink sink)
{
	uint32_t key = index * SONDE_TCP_SPARSE_MAX + which;
	struct sonde_tcp_hist hist;

	if (bpf_map_lookup_elem(bpf_map__fd(s->skel->maps.sonde_sparse), &key, &hist) < 0)
		return errno == ENOENT ? 0
				       : -errno; /* none: it found no room, the ledger says so */
	return tcp_emit_hist(&hist, index, kind, sink);
}

static int emit_call_hist(const struct tcp_state *s, uint32_t index, enum sonde_tcp_call_hist which,
			  struct sonde_collect_sink sink)
{
	if (which < SONDE_TCP_CALL_HIST_COARSE)
		return emit_coarse(s, index, which, sink);
	return tcp_emit_sparse(s, index, which, SONDE_PROBE_HIST_CALL + which, sink);
}

int tcp_emit_calls(struct tcp_state *s, uint32_t index, struct sonde_collect_sink sink)
{
	struct tcp_told *told = sonde_told_at(&s->told, index);
	struct sonde_tcp_calls before = told->calls;
	struct sonde_probe_reply reply = {.type = SONDE_PROBE_CALLS};
	int r;

	reply.calls.index = index;
	memcpy(&reply.calls.calls, sonde_table_at(&s->calls, index), sizeof(reply.calls.calls));
	told->calls = reply.calls.calls;
	r = sink.emit(sink.ctx, &reply);
	for (unsigned int i = 0; i < SONDE_TCP_CALL_HIST_MAX && r == 0; i++) {
		if (observations(&reply.calls.calls, i) != observations(&before, i))
			r = emit_call_hist(s, index, i, sink);
	}
	return r;
}
