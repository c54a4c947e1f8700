/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Edge: one side of the traffic between a process and one peer over one
 * interval, as the meters are made of: counters are differences, gauges are
 * values at the interval's end. A view gives one edge a cell; the meters merge
 * them per final peer. One thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "bpf/udp/udp_types.h"
#include "model/drop-class.h"
#include "model/peer.h"
#include "model/probe-msg.h"
#include "model/process.h"
#include "model/sparse-hist.h"

#define SONDE_EDGE_REASON_MAX 64
#define SONDE_EDGE_SITE_MAX 64

struct sonde_edge_drop {
	uint8_t event;	      /* enum sonde_tcp_event */
	uint8_t direction;    /* enum sonde_tcp_direction */
	uint8_t where;	      /* enum sonde_tcp_where */
	uint64_t site_number; /* of the probe; several have one name */
	enum sonde_drop_class class;
	char reason[SONDE_EDGE_REASON_MAX];
	char site[SONDE_EDGE_SITE_MAX]; /* function that dropped it; "" = not known */
	struct sonde_tcp_drop drop;
};

struct sonde_edge {
	struct sonde_process *self; /* one reference; has an id */
	struct sonde_process
		*other; /* one reference; NULL unless the peer is a process with an id */
	struct sonde_peer peer;
	uint8_t role;	  /* enum sonde_tcp_role */
	uint8_t protocol; /* IPPROTO_UDP; else TCP */
	uint16_t port;	  /* of the service */
	bool changed;	  /* false: nothing but gauges, sent only where a merged edge changed */
	struct sonde_tcp_cell cell; /* all 0 where the protocol is UDP */
	struct sonde_udp_cell udp;
	struct sonde_tcp_calls calls;
	struct sonde_sparse_hist hists[_SONDE_PROBE_HIST_MAX];
	struct sonde_edge_drop *drops; /* owned */
	size_t n_drops;
};

struct sonde_edges {
	struct sonde_edge *edges; /* owned */
	size_t n;
	size_t cap;
};

void sonde_edges_done(struct sonde_edges *e);

/* A zeroed edge at the end; borrowed until the next add. Return: 0, -ENOMEM. */
int sonde_edges_add(struct sonde_edges *e, struct sonde_edge **ret) _must_check_;

/* The same for UDP, whose cells are counters alone. */
bool sonde_udp_cell_add_difference(struct sonde_udp_cell *to, const struct sonde_udp_cell *now,
				   const struct sonde_udp_cell *then);

/* Takes off what only the option execution time measures: a task that did not ask for it shares its cells. */
void sonde_edges_drop_times(struct sonde_edges *e);

/* Frees what it owns; the struct can be used again. */
void sonde_edge_done(struct sonde_edge *e);

/* Adds counters, gauges, histograms and drops of @from; identity of @to stays. Return: 0, -ENOMEM. */
int sonde_edge_merge(struct sonde_edge *to, const struct sonde_edge *from) _must_check_;

/* The same counter of the probe: event, direction, where, reason and the number of the site. */
bool sonde_edge_drop_same_site(const struct sonde_edge_drop *a, const struct sonde_edge_drop *b);

/* Adds to the row of the same (event, direction, where, class, reason, site). Return: 0, -ENOMEM. */
int sonde_edge_add_drop(struct sonde_edge *e, const struct sonde_edge_drop *drop) _must_check_;

/* Appends without looking. Return: 0, -ENOMEM. */
int sonde_edge_drops_append(struct sonde_edge_drop **drops, size_t *n,
			    const struct sonde_edge_drop *drop) _must_check_;

/*
 * Counters: @to += @now - @then (NULL: all of @now). Every field up to the gauges is a counter.
 * Gauges: @to takes @now's, if @gauges. Returns true if any counter grew.
 */
/* What belongs to one snapshot becomes 0: nothing of the cell is open. The epoch too. */
void sonde_cell_clear_gauges(struct sonde_tcp_cell *cell);

bool sonde_cell_add_difference(struct sonde_tcp_cell *to, const struct sonde_tcp_cell *now,
			       const struct sonde_tcp_cell *then, bool gauges);

bool sonde_calls_add_difference(struct sonde_tcp_calls *to, const struct sonde_tcp_calls *now,
				const struct sonde_tcp_calls *then);
