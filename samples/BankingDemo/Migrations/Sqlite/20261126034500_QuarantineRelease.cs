using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace BankingDemo.Migrations.Sqlite
{
    /// <inheritdoc />
    public partial class QuarantineRelease : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.AddColumn<string>(
                name: "ReleaseReason",
                table: "EnvelopeQuarantine",
                type: "TEXT",
                nullable: true);
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropColumn(
                name: "ReleaseReason",
                table: "EnvelopeQuarantine");
        }
    }
}
