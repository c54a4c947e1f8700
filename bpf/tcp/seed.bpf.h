/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * Seeding: two passes over every descriptor of every process. LEARN notes the
 * listeners of everybody, which decide the role of connections that were there
 * before us, and enters the targets' address pairs; TAG then tags the targets'
 * sockets, so both ends of a pair find each other before their first fold.
 *
 * One reader (the worker) runs this, so the cache of the last task needs no lock.
 */

struct task_struct *sonde_seed_task;	/* compared, never followed */
__u32 sonde_seed_pid;			/* of that task if it is a target, else 0 */
bool sonde_seed_first;			/* no earlier seed met that target */
static struct sonde_tag sonde_seed_tag; /* too large for the stack */

static __always_inline __u32 seed_target(struct task_struct *task)
{
	__u32 pid;

	if (sonde_seed_task == task)
		return sonde_seed_pid;
	pid = task_pid(task);
	sonde_seed_task = task;
	sonde_seed_pid = is_target(pid) ? pid : 0;
	sonde_seed_first = sonde_seed_pid && is_first_seed(pid, sonde_seed_generation);
	if (sonde_seed_pid)
		mark_tgid(task->tgid);
	return sonde_seed_pid;
}

static __always_inline void learn(struct sock *sk, __u32 pid)
{
	struct sonde_tcp_listener_key key = {};
	__u32 generation = sonde_seed_generation;
	struct sonde_tag *pair = &sonde_seed_tag;

	if (sk->__sk_common.skc_state == TCP_LISTEN) {
		key.netns = netns_cookie(&sk->__sk_common);
		key.port = sk->__sk_common.skc_num;
		if (bpf_map_update_elem(&sonde_listeners, &key, &generation, BPF_ANY))
			lose(SONDE_TCP_LOSS_LISTENER_FULL, 1);
		return;
	}
	if (!pid || !is_connected(sk->__sk_common.skc_state))
		return;
	if (bpf_sk_storage_get(&sonde_tags, sk, NULL, 0))
		return; /* an earlier seed's, or met since: its entry says more than ours would */
	write_identity(pair, &sk->__sk_common);
	pair->pid = pid;
	pair->role = SONDE_TCP_ROLE_UNKNOWN; /* a listener's was here */
	pair->flags = TAG_IN_TUPLES;	     /* counted when its socket is tagged */
	tuple_enter(pair);
}

static __always_inline void count_seeded(bool found)
{
	sonde_seeded += found;
}

struct accept_walk {
	struct request_sock *next;
	__u32 pid;
	__u16 port;
};

static int tag_waiting(__u32 i, struct accept_walk *walk)
{
	struct request_sock *req = walk->next;
	struct sock *child;

	if (!req)
		return 1;
	walk->next = req->dl_next;
	child = req->sk;
	if (child && child->__sk_common.skc_num == walk->port &&
	    is_connected(child->__sk_common.skc_state))
		count_seeded(tag_found(child, walk->pid, TAG_PROVISIONAL, 0));
	return 0;
}

/*
 * The queue is walked without its lock: an entry may be taken and reused under
 * us. Requests and sockets are type-stable for this grace period, so what we meet
 * is at worst another connection; only one of this listener's port is tagged.
 */
static __always_inline void tag_accept_queue(struct sock *listener, __u32 pid)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(listener);
	struct accept_walk walk = {.pid = pid};
	__u32 queued;

	if (!tp)
		return;
	walk.next = tp->inet_conn.icsk_accept_queue.rskq_accept_head;
	walk.port = listener->__sk_common.skc_num;
	bpf_loop(SONDE_TCP_ACCEPT_WALK_MAX, tag_waiting, &walk, 0);
	queued = listener->sk_ack_backlog;
	/* At a later seed these are children of a listener with a tag. */
	if (sonde_seed_first && walk.next && queued > SONDE_TCP_ACCEPT_WALK_MAX)
		lose(SONDE_TCP_LOSS_ACCEPT_QUEUE, queued - SONDE_TCP_ACCEPT_WALK_MAX);
}

/* Made whole at once: a child that is cloned from it meanwhile must know whose it is. */
static __always_inline void tag_listener(struct sock *sk, __u32 pid)
{
	struct sonde_tag *tag = &sonde_seed_tag;

	write_identity(tag, &sk->__sk_common);
	tag->kind = TAG_LISTENER;
	tag->flags = 0; /* of the last address pair */
	tag->pid = pid;
	tag->role = SONDE_TCP_ROLE_SERVER;
	tag->listen_drops = sk->sk_drops.counter;
	if (!bpf_sk_storage_get(&sonde_tags, sk, tag, BPF_SK_STORAGE_GET_F_CREATE))
		lose(SONDE_TCP_LOSS_TAG_FAILED, 1);
	tag_accept_queue(sk, pid);
}

static __always_inline void on_file(struct task_struct *task, struct file *file)
{
	struct socket *socket = bpf_sock_from_file(file);
	struct sock *sk;
	__u32 pid = seed_target(task), state; /* with any file: a first socket may come later */

	if (!socket)
		return;
	sk = socket->sk;
	if (!sk)
		return;
	if (sk->sk_protocol != PROTOCOL_TCP) {
		if (sk->sk_protocol == PROTOCOL_MPTCP && sonde_seed_pass == SONDE_TCP_SEED_TAG &&
		    pid && sonde_seed_first)
			lose(SONDE_TCP_LOSS_UNTRACKED_MPTCP, 1);
		return;
	}
	if (sonde_seed_pass == SONDE_TCP_SEED_LEARN) {
		learn(sk, pid);
		return;
	}
	if (!pid)
		return;
	state = sk->__sk_common.skc_state;
	if (state == TCP_LISTEN)
		tag_listener(sk, pid);
	else if (is_connected(state) || state == TCP_SYN_SENT)
		count_seeded(tag_found(sk, pid, 0, 0));
}
