/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Descriptors: what meters are, by name: those that this server was built with, and those that agents of another
 * version told of. Bounded; what an agent says of a meter of ours is not taken. Loop thread only.
 */

#include <jansson.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "io/grpc-server.h"

#define SONDE_DESCRIPTORS_MAX                                                                      \
	512 /* that agents told of, and of one message; what was told longest ago makes room */

struct sonde_descriptors;

int sonde_descriptors_new(struct sonde_descriptors **ret) _must_check_;
struct sonde_descriptors *sonde_descriptors_free(struct sonde_descriptors *d);
SONDE_DEFINE_CLEANUP(struct sonde_descriptors *, sonde_descriptors_free)

/*
 * A MeterDescriptors message. @words: what is wrong, or that it is too many, on -EINVAL. A later word on a name replaces an earlier one.
 * Return: 0, -EINVAL, -ENOMEM.
 */
int sonde_descriptors_take(struct sonde_descriptors *d, const uint8_t *data, size_t n,
			   char words[static 160]) _must_check_;

/* {"meters":[{"name","kind","unit","help","labels":[],"from"}]}, ours first. NULL when memory ran out. */
json_t *sonde_descriptors_json(const struct sonde_descriptors *d);

/* The method describe; ctx is the backend. */
enum sonde_grpc_status sonde_services_describe(void *ctx, struct sonde_grpc_server_call *call,
					       const uint8_t *data, size_t n);
