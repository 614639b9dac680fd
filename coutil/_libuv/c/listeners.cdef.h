/* Listeners: sockets at which connections come in. */

#define CO_MORE ... /* want[slot] of a listener: a connection is likely to be there already */
