/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * GraphQL: SkyWalking's query protocol on POST /graphql (what is answered: README.md here). A request is answered root
 * by root; one that creates a task waits until it is stored, and the first topology of a new task is held until it has an
 * edge, 10 s at most. Loop thread only.
 */

#include "backend/backend.h"
#include "backend/http/httpd.h"

/* Requests that are held at one time; one more is answered at once. */
#define SONDE_GRAPHQL_HELD_MAX 32

void sonde_graphql_answer(struct sonde_backend *b, struct sonde_http_request *req);
/* Processes of a layer that no answer shows: there are more layers than an answer holds. */
size_t sonde_graphql_layers_refused(struct sonde_backend *b);
/* Answers what is held as it stands: the server goes. */
void sonde_graphql_end_all(struct sonde_backend *b);
