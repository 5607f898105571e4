// As the documentation of Socket.IO has it: everybody is in one room, and what one of them says goes to the room.
import { Server } from 'socket.io'

const server = new Server(Number(process.argv[2]), { transports: ['websocket'], perMessageDeflate: false, serveClient: false })
server.on('connection', (socket) => {
  socket.join('bench')
  socket.on('say', (said) => server.to('bench').emit('said', said))
})
