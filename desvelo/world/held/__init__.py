"""Real servers in the simulated world: their clients' connections are simulated, they are not.

What a client sends is handed to the real server when the schedule delivers it; the world stands
still until the server has answered, or is proven to wait for somebody else; the answer is then
delivered when the schedule says so. So every interleaving that is seen at the server is one that
was decided, whatever time the server takes.
"""
