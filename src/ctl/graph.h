/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Graph: a topology's nodes under names that people know and that differ from each other. */

#include <stdbool.h>
#include <stdio.h>

#include <jansson.h>

#include "base/cleanup.h"

#define SONDE_GRAPH_LABEL_MAX 512

struct sonde_graph;

/* Borrows @topology for its life. Return: 0, -ENOMEM. */
int sonde_graph_new(const json_t *topology, struct sonde_graph **ret) _must_check_;
struct sonde_graph *sonde_graph_free(struct sonde_graph *graph);
SONDE_DEFINE_CLEANUP(struct sonde_graph *, sonde_graph_free)

/*
 * Name of the node at @end ("client", "server") of @edge: "service/process", an address, "other".
 * Two nodes of one name get their instance, or a number, behind it. A node that is not listed is
 * shown by its id. Borrowed from the graph or the topology.
 */
const char *sonde_graph_label(const struct sonde_graph *graph, const json_t *edge, const char *end);

/*
 * "+ 31 more edges (1.1 % of bytes)": what `top` and `hide_below` left out of @topology. False: nothing.
 */
bool sonde_graph_more(const json_t *topology, char ret[static SONDE_GRAPH_LABEL_MAX]);

/* Graphviz and Mermaid text; edges carry RTT p99, bytes and retransmits. 0, -EIO, -ENOMEM. */
int sonde_graph_dot(const struct sonde_graph *graph, FILE *out) _must_check_;
int sonde_graph_mermaid(const struct sonde_graph *graph, FILE *out) _must_check_;
