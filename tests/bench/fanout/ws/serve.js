// As the documentation of `ws` has it: a server that sends to every client whatever one of them says.
import { WebSocket, WebSocketServer } from 'ws'

const server = new WebSocketServer({ host: '127.0.0.1', port: Number(process.argv[2]), perMessageDeflate: false })
server.on('connection', (socket) => {
  socket.on('error', console.error)
  socket.on('message', (data, binary) => {
    for (const client of server.clients) {
      if (client.readyState === WebSocket.OPEN) client.send(data, { binary })
    }
  })
})
