/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* Calls that move payload, in the context of the task that makes them: so they say whose a socket is. */

#define MSG_PEEK_FLAG 2

/* The first I/O says whose an inherited connection is. False: nobody's that we measure. */
static __noinline bool adopt(struct sock *sk, struct sonde_tag *tag)
{
	__u32 pid = current_target(), index;

	if (!pid) {
		lose(SONDE_TCP_LOSS_FOREIGN, 1);
		take_off(sk, tag);
		return false;
	}
	/* A fast open's child is read from before its -> ESTABLISHED, which writes this otherwise. */
	if (!(tag->flags & TAG_ESTABLISHED))
		write_identity(tag, &sk->__sk_common);
	if (tag->pid != pid) {
		tag->pid = pid;
		if (tag->flags & TAG_IN_TUPLES)
			tuple_enter(tag);
	}
	__sync_fetch_and_and(&tag->flags, ~TAG_PROVISIONAL);
	tag_cell(tag, &index);
	return true;
}

/*
 * The current process, if it is a target whose other ends are known. Before its first seed has learnt them a connection
 * would be tagged without its peer, maybe in the wrong role, and stay so; that seed meets it.
 */
static __always_inline __u32 learnt_target(void)
{
	__u32 pid = current_target(), seeded;
	struct sonde_tcp_target *target;

	if (!pid)
		return 0;
	target = bpf_map_lookup_elem(&sonde_targets, &pid);
	if (!target)
		return 0;
	seeded = *(volatile __u32 *)&target->seeded;
	return seeded && seeded <= *(volatile __u32 *)&sonde_seed_learnt ? pid : 0;
}

/*
 * A target's call on a socket without a tag: its descriptor came over a UNIX socket,
 * from an io_uring or from a process that is no target, and no seed met it.
 */
static __noinline bool found_by_call(struct sock *sk, int moved, bool write)
{
	__u32 pid;

	if (sk->sk_protocol != PROTOCOL_TCP || bpf_sk_storage_get(&sonde_tags, sk, NULL, 0) ||
	    !is_connected(sk->__sk_common.skc_state))
		return false;
	pid = learnt_target();
	if (!pid)
		return false;
	if (moved < 0)
		moved = 0;
	return tag_found(sk, pid, 0, write ? moved : -moved);
}

/* The tag of a connection whose owner is sure by now; NULL: nobody's that we measure. */
static __always_inline struct sonde_tag *owned_tag(struct sock *sk, int ret, int flags, bool write)
{
	struct sonde_tag *tag = connection_tag(sk);

	if (!tag) {
		if (!maybe_target() || !found_by_call(sk, flags & MSG_PEEK_FLAG ? 0 : ret, write))
			return NULL;
		tag = connection_tag(sk);
		if (!tag)
			return NULL;
	}
	if ((tag->flags & (TAG_PROVISIONAL | TAG_ESTABLISHED)) != TAG_ESTABLISHED) {
		make_up(sk, tag);
		if (tag->flags & TAG_PROVISIONAL && !adopt(sk, tag))
			return NULL;
	}
	return tag;
}

static __always_inline void on_call(struct sock *sk, int ret, int flags, bool write)
{
	struct sonde_tag *tag = owned_tag(sk, ret, flags, write);
	struct sonde_tcp_cell *cell;
	__u32 index;

	if (!tag)
		return;
	if (ret <= 0 || flags & MSG_PEEK_FLAG) {
		call_failed();
		return;
	}
	cell = tag_cell(tag, &index);
	if (!cell)
		return;
	add(write ? &cell->write_calls : &cell->read_calls, 1);
	call_moved(index, ret, write ? SONDE_TCP_CALL_WRITE : SONDE_TCP_CALL_READ);
}
