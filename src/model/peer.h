/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Peer: who the other end of a cell is. First the kernel's word (the other
 * socket was tagged too), then, for a client, the cell or listener that serves
 * the address it talks to; else the address. A server's client is not guessed
 * from its address, as several processes share one, with one exception: signals
 * of handshakes that came to nothing (sonde_peer_infer_client()). No I/O, one
 * thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "bpf/tcp/tcp_types.h"

enum sonde_peer_kind {
	SONDE_PEER_PROCESS = 0, /* pid is set */
	SONDE_PEER_ADDRESS,
	SONDE_PEER_OTHER, /* the overflow cell: address unknown */
	_SONDE_PEER_KIND_MAX,
};

struct sonde_peer {
	enum sonde_peer_kind kind;
	uint32_t pid;	  /* PROCESS */
	uint8_t addr[16]; /* the other end, IPv4-mapped; zero for OTHER */
	uint16_t port;	  /* of the service; 0 for OTHER */
	bool local;	  /* the address is one of this host's */
	/*
	 * The client asked for a Service: for this address, which is translated. Then addr and port are the
	 * backend's where it has one, and the Service's own where several share its traffic.
	 */
	bool service;
	uint8_t service_addr[16];
	uint16_t service_port;
};

struct sonde_peer_table;

/* @max_rows bounds each of its tables; what does not fit is not found later. Return: 0, -ENOMEM. */
int sonde_peer_table_new(size_t max_rows, struct sonde_peer_table **ret) _must_check_;
struct sonde_peer_table *sonde_peer_table_free(struct sonde_peer_table *t);
SONDE_DEFINE_CLEANUP(struct sonde_peer_table *, sonde_peer_table_free)

/* Empties it, keeps the memory. Then add everything, seal, and resolve. */
void sonde_peer_table_reset(struct sonde_peer_table *t);

/* Every live cell of the snapshot. Return: 0, -ENOSPC, -ENOMEM. */
int sonde_peer_table_add_cell(struct sonde_peer_table *t,
			      const struct sonde_tcp_cell_key *key) _must_check_;
/* A listening socket; @addr all zero = any. Return: 0, -ENOSPC, -ENOMEM. */
int sonde_peer_table_add_listener(struct sonde_peer_table *t, uint64_t netns,
				  const uint8_t addr[16], uint16_t port, uint32_t pid) _must_check_;
/* An address of this host. Return: 0, -ENOSPC, -ENOMEM. */
int sonde_peer_table_add_local(struct sonde_peer_table *t, const uint8_t addr[16]) _must_check_;

/* An address that is translated for clients here, and a backend of it. Return: 0, -ENOSPC, -ENOMEM. */
int sonde_peer_table_add_service(struct sonde_peer_table *t, uint8_t protocol,
				 const uint8_t addr[16], uint16_t port, const uint8_t backend[16],
				 uint16_t backend_port) _must_check_;

/*
 * Sorts; needed before the first resolve. @group maps a pid to what may be treated as one process (its
 * SkyWalking id's number, or the pid itself), so that two workers behind one address are no ambiguity.
 */
void sonde_peer_table_seal(struct sonde_peer_table *t, uint64_t (*group)(void *ctx, uint32_t pid),
			   void *ctx);

void sonde_peer_resolve(const struct sonde_peer_table *t, const struct sonde_tcp_cell_key *key,
			struct sonde_peer *ret);

/*
 * sonde_peer_infer_client() - name the client of a server's cell that never had a connection
 * @peer: as resolved; it is touched only where the kernel named nobody
 *
 * What meets a listener before there is a child (a SYN-ACK sent again, a SYN dropped) is known by address alone.
 * Where all known client cells from that address to this address and port are of one process, the signals are taken
 * for that process's: inferred, as a process that is no target may have sent them. For loopback the cells must be of
 * the same network namespace.
 */
void sonde_peer_infer_client(const struct sonde_peer_table *t, const struct sonde_tcp_cell_key *key,
			     struct sonde_peer *peer);

/* 127.0.0.0/8 and ::1. */
bool sonde_address_is_loopback(const uint8_t addr[16]);

#define SONDE_ADDRESS_TEXT_MAX 46 /* INET6_ADDRSTRLEN */
/* "10.1.2.3" for a mapped address, else IPv6 text without brackets. */
void sonde_address_text(const uint8_t addr[16], char dst[SONDE_ADDRESS_TEXT_MAX]);
