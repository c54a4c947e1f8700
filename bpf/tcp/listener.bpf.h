/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* Listeners: what comes to one before there is a connection. */

/* What comes to a listener is counted in the cell of the address that it came from. */
static __always_inline bool listener_cell(const struct sonde_tag *tag, const __u8 *laddr,
					  const __u8 *raddr, __u32 *index)
{
	struct sonde_tcp_cell_key key = {};

	key.netns = tag->netns;
	key.pid = tag->pid;
	key.role = SONDE_TCP_ROLE_SERVER;
	key.protocol = IPPROTO_TCP;
	key.port = tag->lport;
	__builtin_memcpy(key.laddr, laddr, sizeof(key.laddr));
	__builtin_memcpy(key.raddr, raddr, sizeof(key.raddr));
	return cell_index(&key, index);
}

/* What belongs to no client: of the address that it listens on, from anybody (::). */
static __always_inline struct sonde_tcp_cell *own_listener_cell(const struct sonde_tag *tag)
{
	__u8 anybody[16] = {};
	__u32 index;

	return listener_cell(tag, tag->laddr, anybody, &index) ? cell_at(index) : NULL;
}

/* The cell is made when there is something to say: most listeners never drop. */
static __always_inline void fold_listener(struct sock *sk, struct sonde_tag *tag, bool final)
{
	__u32 drops = sk->sk_drops.counter;
	struct sonde_tcp_cell *cell;

	if (drops == tag->listen_drops)
		return;
	cell = own_listener_cell(tag);
	if (cell)
		advance32(&tag->listen_drops, drops, final, &cell->listen_drops, 1);
}
