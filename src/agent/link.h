/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Link: the gRPC client as the configuration's `backend` asks for it, and the log lines of its connections: which
 * backend, since when, why not, each said once until it changes. Loop thread only.
 */

#include <systemd/sd-event.h>

#include "agent/options.h"
#include "base/cleanup.h"
#include "io/grpc-client.h"

/* All that can be known of `backend` without a connection; reads the files. As the check of sonde_config_spec. */
int sonde_link_check(const struct sonde_agent_config *config, char **ret_error) _must_check_;

struct sonde_link;

/* @config is borrowed. Return: 0, -ENOMEM, -EINVAL, -errno. */
int sonde_link_new(sd_event *event, const struct sonde_agent_config *config,
		   struct sonde_link **ret) _must_check_;
/* Ends all calls. NULL is fine. Returns NULL. */
struct sonde_link *sonde_link_free(struct sonde_link *l);
SONDE_DEFINE_CLEANUP(struct sonde_link *, sonde_link_free)

/* @fn runs at each connection that stands, from inside an event of the client: it may make no call there. */
void sonde_link_on_connected(struct sonde_link *l, void (*fn)(void *ctx), void *ctx);

/* Borrowed. */
struct sonde_grpc_client *sonde_link_client(const struct sonde_link *l);
