/* Listeners: sockets at which connections come in. */

#define CO_MORE ... /* demand[slot] of a listener: a connection is likely to be there already */
